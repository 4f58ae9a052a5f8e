"""`outbox-kinds`: which kind of mail fails most, and what the code says of each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import console, database, extension, in_app, remark, say
from outbox.cli.options import environment_of, environment_options, number, to_timedelta
from outbox.cli.output import print_json, safe
from outbox.cli.tables import Column, print_table
from outbox.cli.text import Text
from outbox.operations import KindRow
from outbox.operations.kinds import SEEN
from outbox.settings.kinds import Policy


@click.command("outbox-kinds", cls=Command)
@click.option(
    "--since", callback=to_timedelta, default="1d", show_default=True, metavar="TIME", help="What ended within TIME."
)
@environment_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def kinds(since: timedelta, as_json: bool, **options: Any) -> None:
    """Show the figures and the policy of each kind of mail.

    What failed, was sent and is uncertain of each kind, and what of it is queued or deferred now. P50: in this time
    half of what was sent was accepted by a relay, counted from when it was enqueued. The kinds that fail most come
    first. At most 10,000 deliveries that ended and 10,000 that are queued are counted, the newest.
    Below them is the policy of each kind that the application's code defines (mail.kind).

    \b
    Examples:
      outbox-kinds
      outbox-kinds --since 7d
      outbox-list --kind newsletter --state failed --since 7d
    """
    with waiting("looking"), operations.connected(database()) as connection:
        found = operations.kinds(connection, since.total_seconds(), environment=environment_of(options))
    policies = {one.name: one for one in extension().kinds}
    if as_json:
        silent = policies.keys() - {row.kind for row in found.rows}
        rows = [*found.rows, *(KindRow(name, 0, 0, 0, 0, 0) for name in sorted(silent))]
        listed = [_object(row, policies.get(row.kind or "")) for row in rows]
        print_json({"seconds": found.seconds, "partial": found.partial, "kinds": listed})
        return
    if found.rows:
        _print(found.rows)
    else:
        say("No mail ended in this time, and none is queued.")
    if policies:
        say("")
        _print_policies(policies.values())
    if found.partial:
        remark(f"Only the newest {SEEN:,} that ended and the newest {SEEN:,} that are queued were counted.")


def _print(rows: list[KindRow]) -> None:
    heads = ("FAILED", "% FAILED", "SENT", "P50", "UNCERTAIN", "QUEUED", "DEFERRED")
    columns = [Column("KIND", ratio=1), *(Column(head, right=True) for head in heads)]
    print_table(console(), columns, [_cells(row) for row in rows])


def _print_policies(policies: Iterable[Policy]) -> None:
    columns = [Column("KIND"), Column("POLICY", ratio=1)]
    print_table(console(), columns, [[Text(safe(one.name)), Text(safe(_policy_words(one)))] for one in policies])


def _policy_words(policy: Policy) -> str:
    return ", ".join(f"{name}={value}" for name, value in policy.words) or "as the settings say"


def _cells(row: KindRow) -> list[Text]:
    share = "-" if row.failing is None else f"{100 * row.failing:.1f}"
    counts = (row.uncertain, row.waiting, row.deferred)
    return [
        Text(safe(row.kind or operations.NO_KIND)),
        Text(number(row.failed), style="red" if row.failed else "dim"),
        Text(share),
        Text(number(row.sent), style="" if row.sent else "dim"),
        Text("-" if row.accepted_p50 is None else _time(row.accepted_p50)),
        *(Text(number(count), style="" if count else "dim") for count in counts),
    ]


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else operations.duration(seconds)


def _object(row: KindRow, policy: Policy | None) -> dict[str, object]:
    """With the words of the states. `policy`: None for a kind that the code does not define."""
    return {
        "kind": row.kind,
        "sent": row.sent,
        "failed": row.failed,
        "failed_share": row.failing,
        "accepted_p50_seconds": row.accepted_p50,
        "uncertain": row.uncertain,
        "queued": row.waiting,
        "deferred": row.deferred,
        "policy": None if policy is None else dict(policy.words),
    }
