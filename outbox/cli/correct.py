"""`outbox-correct-recipient`: another address for a message that was written to a wrong one."""

from __future__ import annotations

from typing import Any

import click

from outbox import operations
from outbox.cli.command import Command, No
from outbox.cli.common import application, database, in_app, say, who
from outbox.cli.options import environment_of, environment_options
from outbox.cli.output import print_json, sentence
from outbox.core.errors import MessageError
from outbox.extension.state import bound_to


@click.command("outbox-correct-recipient", cls=Command)
@click.argument("id", type=click.IntRange(1))
@click.argument("address")
@environment_options
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def correct_recipient(id: int, address: str, dry_run: bool, note: str | None, as_json: bool, **options: Any) -> None:
    """Send a message to another address.

    The delivery ID (of outbox-list) gets the recipient ADDRESS and is queued again, due at once. If the message has no
    other recipient, its To or Cc is corrected, too. Only queued, failed and cancelled mail can be corrected, and no
    mail of a sensitive kind (docs/kinds.md): cancel that, and have the application send a new message.

    \b
    Examples:
      outbox-correct-recipient 4711 ann@example.org
      outbox-correct-recipient 4711 ann@example.org --note "a typo"
    """
    environment, engine = environment_of(options), database()
    with operations.guarded(engine), engine.connect() as connection:
        row = next(iter(operations.find(connection, operations.Filter(ids=(id,)), limit=1)), None)
        try:
            recipient = operations.correct_recipient(
                connection,
                id,
                address,
                by=who(),
                sensitive_kinds=bound_to(application()).sensitive_kinds,
                address_key=bound_to(application()).settings.address_digest_key,
                note=note,
                environment=environment,
            )
        except MessageError as error:
            raise click.BadParameter(str(error).removeprefix("recipient: "), param_hint="ADDRESS") from None
        except ValueError as error:
            raise No(sentence(f"Not corrected: {error}")) from error
        if not dry_run:  # else it is rolled back when the connection closes
            connection.commit()
    was = None if row is None else row.recipient
    if as_json:
        print_json({"action": "edit-recipient", "dry_run": dry_run, "id": id, "was": was, "recipient": recipient})
    else:
        say(f"{'Would queue' if dry_run else 'Queued'} delivery {id} for {recipient} (was {was}).")
