"""`outbox-audit`: who changed what, and who read what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Connection

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import console, in_app, remark, replica, say
from outbox.cli.options import moment, number, to_moment, to_timedelta
from outbox.cli.output import print_json, safe
from outbox.cli.tables import Column, print_table
from outbox.cli.text import Text
from outbox.operations.audit import Entry

MAX_LIST = 10_000


@click.command("outbox-audit", cls=Command)
@click.option("--by", metavar="NAME", help="By this person, as the list shows it.")
@click.option("--action", metavar="WORD", help="This action: requeue, cancel, pause, purge, read …")
@click.option("--id", "delivery_id", type=click.IntRange(1), metavar="ID", help="To this delivery, by its ID.")
@click.option("--since", callback=to_timedelta, metavar="TIME", help="Within TIME: 15m, 2h, 7d.")
@click.option("--from", "from_", callback=to_moment, metavar="WHEN", help="At or after WHEN, in UTC: 2026-11-24T08:00.")
@click.option("--until", callback=to_moment, metavar="WHEN", help="At or before WHEN.")
@click.option("--reads", is_flag=True, help="Also who read what a message says.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIST), default=50, show_default=True, metavar="N", help="At most this many."
)
@click.option("--before", type=click.IntRange(1), metavar="ID", help="Only entries before entry ID: the next page.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on stdout.")
@in_app
def audit(limit: int, before: int | None, reads: bool, as_json: bool, **options: Any) -> None:
    """List who changed what, the newest first.

    Every change that a person made on the pages or by a command: when, who, which action, how many deliveries, by
    which filter, and the note. Entries are removed after OUTBOX_AUDIT_RETENTION_SECONDS. --id finds changes by ID and
    those of up to 50 deliveries.

    \b
    Examples:
      outbox-audit
      outbox-audit --since 2h --action pause
      outbox-audit --id 4711 --reads
    """
    with waiting("looking"), operations.connected(replica()) as connection:
        entries = _found(connection, limit + 1, before, reads=reads, **options)
    more, entries = len(entries) > limit, entries[:limit]
    if as_json:
        print_json(entries)
        return
    if not entries:
        say("No entry matches." if before or any(options.values()) else "Nobody has changed anything yet.")
        return
    _print(entries)
    if more:
        remark(f"There is more: add --before {entries[-1].id} for the next page.")


def _found(
    connection: Connection,
    limit: int,
    before: int | None,
    *,
    reads: bool,
    by: str | None,
    action: str | None,
    delivery_id: int | None,
    since: timedelta | None,
    from_: datetime | None,
    until: datetime | None,
) -> list[Entry]:
    begin = from_ if since is None else operations.now(connection) - since
    begin = begin if from_ is None or begin is None else max(begin, from_)
    without = None if reads or action == operations.READ else operations.READ
    return operations.audit.recent(
        connection,
        limit,
        before=before,
        by=by,
        action=action,
        delivery_id=delivery_id,
        since=begin,
        until=until,
        without=without,
    )


def _print(entries: list[Entry]) -> None:
    columns = (
        Column("TIME (UTC)"),
        Column("ACTION"),
        Column("COUNT", right=True),
        Column("BY", ratio=1, wrap=True),
        Column("WHAT", ratio=2, wrap=True),
    )
    rows = [
        [moment(one.at).removesuffix(" UTC"), one.action, number(one.count), safe(one.by), safe(_what(one))]
        for one in entries
    ]
    print_table(console(), columns, [[Text(cell) for cell in row] for row in rows])


def _what(entry: Entry) -> str:
    """The filter, or the ids of what has none, and why."""
    filters = entry.filters
    if not filters or entry.action == operations.READ:
        filters = " ".join([*(f"id={id}" for id in entry.delivery_ids), filters])
    return f"{filters} ({entry.note})" if entry.note else filters
