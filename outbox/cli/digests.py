"""`outbox-digests`: what waits for digests."""

from __future__ import annotations

import click

from outbox import operations
from outbox.cli.command import Command
from outbox.cli.common import ask, console, database, extension, in_app, say, settings, who
from outbox.cli.options import moment, number
from outbox.cli.output import print_json, safe
from outbox.cli.tables import Column, print_table
from outbox.cli.text import Text
from outbox.operations.digests import DigestCount, run_again, waiting


@click.command("outbox-digests", cls=Command)
@click.option("--name", metavar="NAME", help="Of this digest alone.")
@click.option("--run", is_flag=True, help="Have what was given up of NAME made now.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def digests(name: str | None, run: bool, yes: bool, note: str | None, as_json: bool) -> None:
    """Show what waits for digests.

    Each digest (mail.digest) with how many items wait for how many recipients, how many of them could not be made into
    a message and why, how many were given up, and when the next message is made. What was sent is not listed. At most
    100,000 items are looked at. What was given up is made with the recipient's next item, or after --run.

    \b
    Examples:
      outbox-digests
      outbox-digests --name comments --run
    """
    if run and name is None:
        raise click.UsageError("Name the digest: --name.")
    with operations.connected(database()) as connection:
        found = [one for one in waiting(connection, settings().environment) if name in (None, one.name)]
    if run and name is not None:
        _run(found, name, yes=yes, note=note, as_json=as_json)
    elif as_json:
        print_json({"digests": found})
    elif not found:
        say("Nothing waits for a digest." if name is None else f"Nothing waits for the digest {safe(name)}.")
    else:
        _print(found)


def _run(found: list[DigestCount], name: str, *, yes: bool, note: str | None, as_json: bool) -> None:
    given_up = sum(one.given_up for one in found)
    if given_up:
        ask(f"Have the digest {safe(name)} made of {number(given_up)} items that were given up?", yes=yes)
    with operations.transaction(database()) as connection:
        count = run_again(connection, settings().environment, name, by=who(), note=note)
    if as_json:
        print_json({"due": count})
    else:
        say(f"{number(count)} {'item is' if count == 1 else 'items are'} due now: a worker makes the messages.")


def _print(found: list[DigestCount]) -> None:
    known = {one.name for one in extension().digests}
    heads = ("RECIPIENTS", "ITEMS", "FAILING", "GIVEN UP")
    columns = [Column("DIGEST", ratio=1), *(Column(head, right=True) for head in heads), Column("NEXT (UTC)")]
    rows = [
        [
            Text(safe(one.name)),
            Text(number(one.recipients)),
            Text(number(one.items)),
            Text(number(one.failing), style="yellow" if one.failing else "dim"),
            Text(number(one.given_up), style="red" if one.given_up else "dim"),
            Text(moment(one.next_at).removesuffix(" UTC")),
        ]
        for one in found
    ]
    print_table(console(), columns, rows)
    if any(one.error or one.name not in known for one in found):
        say("")
    for one in found:
        if one.error:
            say(f"{safe(one.name)}: {safe(one.error)}")
        if one.name not in known:
            say(f"{safe(one.name)} is not known to this application: no worker of it makes the message.")
