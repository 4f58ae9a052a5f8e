"""`outbox-digests`: what waits for digests."""

from __future__ import annotations

import click

from outbox import operations
from outbox.cli.command import Command
from outbox.cli.common import console, database, in_app, say, settings
from outbox.cli.options import moment, number
from outbox.cli.output import print_json, safe
from outbox.cli.tables import Column, print_table
from outbox.cli.text import Text
from outbox.operations.digests import waiting


@click.command("outbox-digests", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def digests(as_json: bool) -> None:
    """Show what waits for digests.

    Each digest (mail.digest) with how many items wait for how many recipients, how many of them could not be made into
    a message, how many were given up, and when the next message is made. What was sent is not listed. At most 100,000
    items are looked at.

    \b
    Examples:
      outbox-digests
    """
    with operations.connected(database()) as connection:
        found = waiting(connection, settings().environment)
    if as_json:
        print_json({"digests": found})
        return
    if not found:
        say("Nothing waits for a digest.")
        return
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
