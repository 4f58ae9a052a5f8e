"""`outbox-list`: find mail."""

from __future__ import annotations

from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import console, database, in_app, remark, say
from outbox.cli.options import deliveries, filter_options, taken
from outbox.cli.output import print_json
from outbox.cli.unmatched import by_state, matching

MAX_LIST = 10_000


@click.command("outbox-list", cls=Command)
@filter_options
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIST), default=50, show_default=True, metavar="N", help="At most this many."
)
@click.option("--before", type=click.IntRange(1), metavar="ID", help="Only those with a smaller ID: the next page.")
@click.option("--after", type=click.IntRange(0), metavar="ID", help="With --order oldest: only those with a larger ID.")
@click.option(
    "--order",
    type=click.Choice(["newest", "oldest"]),
    default="newest",
    show_default=True,
    help="Which come first, by the time of enqueuing.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON array on stdout.")
@in_app
def list_(limit: int, before: int | None, after: int | None, order: str, as_json: bool, **options: Any) -> None:
    """List deliveries, the newest first.

    One line for each recipient of a message. All conditions must hold.

    \b
    Examples:
      outbox-list --state failed --since 2h
      outbox-list --recipient ann@example.org
      outbox-list --waits due --order oldest
      outbox-list --error 5.1.1 --domain example.org --json
    """
    from outbox.cli.tables import print_mails

    wanted, oldest = taken(options), order == "oldest"
    if (before if oldest else after) is not None:
        raise click.UsageError("--before is for the newest first, --after for --order oldest.")
    page = before if after is None else after
    with waiting("looking"), operations.connected(database()) as connection:
        rows = operations.find(connection, wanted, before=before, after=after, oldest_first=oldest, limit=limit + 1)
        others = by_state(connection, wanted) if wanted.states and page is None and not rows else {}
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        print_json(rows)
        return
    if not rows:
        empty = "The outbox is empty." if wanted.is_empty and page is None else "No mail matches."
        say(f"No mail is {' or '.join(wanted.states)}: {matching(others)}." if others else empty)
        return
    print_mails(console(), rows)
    if not more:
        remark(f"{deliveries(len(rows))}.")
    else:
        remark(f"There is more: add {'--after' if oldest else '--before'} {rows[-1].id} for the next page.")
