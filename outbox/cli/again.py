"""`outbox-send-again`: resend a sent message."""

from __future__ import annotations

from typing import Any

import click

from outbox import operations
from outbox.cli.command import Command, No
from outbox.cli.common import database, in_app, say, settings, who
from outbox.cli.options import environment_of, environment_options
from outbox.cli.output import print_json, sentence


@click.command("outbox-send-again", cls=Command)
@click.argument("id", type=click.IntRange(1))
@environment_options
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def send_again(id: int, dry_run: bool, note: str | None, as_json: bool, **options: Any) -> None:
    """Resend a message that was already sent.

    The message of the delivery ID (of outbox-list) is enqueued again, for that recipient alone: with a new Message-ID
    and Date, and the old Message-ID in References. The old delivery stays as it is. For mail that failed use
    outbox-requeue instead. A message whose content was redacted can't be sent again.

    \b
    Examples:
      outbox-send-again 4711
      outbox-send-again 4711 --note "deleted by mistake"
    """
    environment, engine = environment_of(options), database()
    with operations.guarded(engine), engine.connect() as connection:
        row = next(iter(operations.find(connection, operations.Filter(ids=(id,)), limit=1)), None)
        try:
            made = operations.send_again(
                connection, id, by=who(), note=note, environment=environment, wake=settings().wake
            )
        except ValueError as error:
            raise No(sentence(f"Not sent again: {error}")) from error
        if not dry_run:  # else it is rolled back when the connection closes
            connection.commit()
    recipient = None if row is None else row.recipient
    if as_json:
        new = None if dry_run else made
        print_json({"action": "send-again", "dry_run": dry_run, "id": id, "new_id": new, "recipient": recipient})
    elif dry_run:
        say(f"Would send the message of delivery {id} to {recipient} again.")
    else:
        say(f"Queued delivery {made} for {recipient}: a new message with the content of delivery {id}.")
