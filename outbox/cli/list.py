"""`outbox-list`: find mail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import console, in_app, remark, replica, say
from outbox.cli.options import deliveries, filter_options, taken
from outbox.cli.output import print_json, print_whole, safe
from outbox.cli.unmatched import by_state, matching
from outbox.delivery.states import State
from outbox.operations import Filter, Row
from outbox.operations.csv_rows import COLUMNS, MOST, csv_cells, csv_line

USUAL = 50
STEP = 1_000
"""Rows of a CSV file that are read at once."""


@dataclass(frozen=True, slots=True)
class _Page:
    """Where a list begins."""

    before: int | None
    after: int | None
    oldest: bool

    def then(self, last: int) -> _Page:
        """The next one."""
        return _Page(None, last, True) if self.oldest else _Page(last, None, False)

    def rows(self, wanted: Filter, limit: int) -> list[Row]:
        """Those that match."""
        with operations.connected(replica()) as connection:
            return operations.find(
                connection, wanted, before=self.before, after=self.after, oldest_first=self.oldest, limit=limit
            )


@click.command("outbox-list", cls=Command)
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(1, MOST),
    metavar="N",
    help=f"At most this many. Default: {USUAL}; with --csv {MOST:,}.",
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
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout, as the pages export it.")
@in_app
def list_(
    limit: int | None,
    before: int | None,
    after: int | None,
    order: str,
    as_json: bool,
    as_csv: bool,
    **options: Any,
) -> None:
    """List deliveries, the newest first.

    One line for each recipient of a message. All conditions must hold.

    \b
    Examples:
      outbox-list --state failed --since 2h
      outbox-list --recipient ann@example.org
      outbox-list --waits due --order oldest
      outbox-list --error 5.1.1 --domain example.org --json
      outbox-list --kind newsletter --since 1d --csv > newsletter.csv
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    wanted, page = taken(options), _Page(before, after, order == "oldest")
    if (before if page.oldest else after) is not None:
        raise click.UsageError("--before is for the newest first, --after for --order oldest.")
    if as_csv:
        _print_csv(wanted, page, limit or MOST)
    else:
        _print(wanted, page, limit or USUAL, as_json=as_json)


def _print(wanted: Filter, page: _Page, limit: int, *, as_json: bool) -> None:
    from outbox.cli.tables import print_mails

    first = page.before is None and page.after is None
    with waiting("looking"):
        rows = page.rows(wanted, limit + 1)
        others = _other_states(wanted) if wanted.states and first and not rows else {}
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        print_json(rows)
        return
    if not rows:
        empty = "The outbox is empty." if wanted.is_empty and first else "No mail matches."
        say(f"No mail is {' or '.join(wanted.states)}: {matching(others)}." if others else empty)
        return
    print_mails(console(), rows)
    _remark_on(len(rows), page.then(rows[-1].id) if more else None)


def _print_csv(wanted: Filter, page: _Page, limit: int) -> None:
    """A step at a time, so that nothing is held for long."""
    _print_line(COLUMNS)
    written = 0
    while True:
        size = min(STEP, limit - written)
        rows = page.rows(wanted, size + 1)
        for row in rows[:size]:
            _print_line(csv_cells(row))
        written += len(rows[:size])
        if len(rows) <= size:
            _remark_on(written, None)
            return
        page = page.then(rows[size - 1].id)
        if written >= limit:
            _remark_on(written, page)
            return


def _print_line(cells: Iterable[object]) -> None:
    harmless = (safe(cell) if isinstance(cell, str) else cell for cell in cells)
    print_whole(csv_line(harmless).rstrip("\r\n"))


def _remark_on(shown: int, further: _Page | None) -> None:
    if further is None:
        remark(f"{deliveries(shown)}.")
    else:
        last = f"--after {further.after}" if further.oldest else f"--before {further.before}"
        remark(f"There is more: add {last} for the next page.")


def _other_states(wanted: Filter) -> dict[State, int]:
    with operations.connected(replica()) as connection:
        return by_state(connection, wanted)
