"""What waits, by domain and age: where mail piles up, and since when (as Postfix's qshape shows its queue)."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from outbox.delivery.states import LIVE, State
from outbox.operations.tables import DELIVERY, MESSAGE, in_state
from outbox.store.types import DbNow

SEEN = 50_000
"""The oldest rows looked at in each of the two live states."""

DOMAINS = 20

MINUTES = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""The bounds of the columns; the last column is what is older."""


@dataclass(frozen=True, slots=True)
class ShapeRow:
    """One domain, or all of them ("")."""

    domain: str
    total: int
    ages: tuple[int, ...]  # enqueued within MINUTES[0], …, longer ago than MINUTES[-1]


@dataclass(frozen=True, slots=True)
class Shape:
    """Queued and leased mail."""

    minutes: tuple[int, ...]
    total: ShapeRow
    domains: list[ShapeRow]  # the fullest first, at most DOMAINS
    others: int  # how many domains are not shown
    partial: bool  # there is more mail than was looked at


def shape(connection: sa.Connection) -> Shape:
    """Look once; the cost is bounded by SEEN."""
    seen = sa.union_all(*(_oldest(state) for state in sorted(LIVE))).subquery("seen")
    # one look by primary key for each row: a join might be turned into a scan of all messages, and, without the limit,
    # this into one look for each column
    created_at = sa.select(MESSAGE.c.created_at).where(MESSAGE.c.id == seen.c.message_id).scalar_subquery()
    dated = sa.select(seen.c.domain, created_at.label("created_at")).limit(2 * SEEN).subquery("dated")
    column = sa.case(
        *((dated.c.created_at > DbNow(-60.0 * bound), at) for at, bound in enumerate(MINUTES)), else_=len(MINUTES)
    ).label("age")
    number = sa.func.count().label("number")
    rows = connection.execute(sa.select(dated.c.domain, column, number).group_by(dated.c.domain, column)).all()
    table: dict[str, list[int]] = {}
    for row in rows:
        table.setdefault(row.domain, [0] * (len(MINUTES) + 1))[row.age] += row.number
    domains = sorted(
        (ShapeRow(domain, sum(ages), tuple(ages)) for domain, ages in table.items()),
        key=lambda row: (-row.total, row.domain),
    )
    sums = tuple(sum(row.ages[at] for row in domains) for at in range(len(MINUTES) + 1))
    total = ShapeRow("", sum(sums), sums)
    return Shape(MINUTES, total, domains[:DOMAINS], max(0, len(domains) - DOMAINS), total.total >= SEEN)


def _oldest(state: State) -> sa.Select[tuple[str, int]]:
    of_state = (
        sa.select(DELIVERY.c.domain, DELIVERY.c.message_id)
        .where(in_state(state))
        .order_by(DELIVERY.c.state, DELIVERY.c.id)
        .limit(SEEN)
        .subquery()
    )
    return sa.select(of_state.c.domain, of_state.c.message_id)
