"""Figures by kind: what became of each kind's mail, and what of it is waiting."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.conditions import Waits, waits_is
from outbox.operations.tables import DELIVERY, MESSAGE, in_state
from outbox.store.types import DbNow

SEEN = 10_000
"""How many of the newest deliveries that ended, and of those that wait, are counted."""


@dataclass(frozen=True, slots=True)
class KindRow:
    """One kind; None: mail without one."""

    kind: str | None
    sent: int
    failed: int
    uncertain: int
    waiting: int  # queued, of which
    deferred: int  # these were attempted before
    accepted_p50: float | None = None
    """Seconds in which half of what was sent was accepted by a relay, from when it was enqueued; None: nothing sent."""

    @property
    def failing(self) -> float | None:
        """The share of what ended that failed; None where nothing ended."""
        ended = self.sent + self.failed
        return self.failed / ended if ended else None


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds of mail that ended within `seconds`, or are waiting: most failures first, then the largest share."""

    seconds: float
    rows: list[KindRow]
    partial: bool  # there is more mail than was looked at


def kinds(connection: sa.Connection, seconds: float, *, environment: str | None = None) -> Kinds:
    """Look once; the cost is bounded by SEEN. `environment`: only of this one."""
    ended = _ended(seconds, DELIVERY.c.state, sa.literal(0).label("deferred"))
    queued = (
        sa.select(
            DELIVERY.c.message_id, DELIVERY.c.state, sa.case((waits_is(Waits.DEFERRED), 1), else_=0).label("deferred")
        )
        .where(in_state(State.QUEUED))
        .order_by(DELIVERY.c.state.desc(), DELIVERY.c.id.desc())
        .limit(SEEN)
        .subquery()
    )
    seen = sa.union_all(sa.select(ended), sa.select(queued)).subquery("seen")
    # one look by primary key for each row: a join might be turned into a scan of all messages
    kind, stamp = (
        sa.select(column).where(MESSAGE.c.id == seen.c.message_id).scalar_subquery()
        for column in (MESSAGE.c.kind, MESSAGE.c.environment)
    )
    columns = [kind.label("kind"), seen.c.state, seen.c.deferred]
    if environment is not None:
        columns.append(stamp.label("environment"))
    told = sa.select(*columns).limit(2 * SEEN).subquery("told")
    number = sa.func.count().label("number")
    statement = sa.select(told.c.kind, told.c.state, told.c.deferred, number)
    if environment is not None:
        statement = statement.where(told.c.environment == environment)
    counts: dict[str | None, dict[tuple[str, int], int]] = {}
    total: dict[str, int] = {}
    for row in connection.execute(statement.group_by(told.c.kind, told.c.state, told.c.deferred)):
        counts.setdefault(row.kind, {})[row.state, int(row.deferred)] = int(row.number)
        where = "queued" if row.state == State.QUEUED.value else "ended"
        total[where] = total.get(where, 0) + int(row.number)
    halves = _accepted_p50(connection, seconds, environment)
    rows = sorted(
        (_row(name, of, halves.get(name)) for name, of in counts.items()),
        key=lambda row: (-row.failed, -(row.failing or 0.0), row.kind or ""),
    )
    return Kinds(seconds, rows, any(number >= SEEN for number in total.values()))


def _ended(seconds: float, *columns: sa.ColumnElement[Any]) -> sa.Subquery:
    """The newest that ended."""
    ended = sa.select(DELIVERY.c.message_id, *columns).where(DELIVERY.c.finished_at >= DbNow(-seconds))
    return ended.order_by(DELIVERY.c.finished_at.desc()).limit(SEEN).subquery()


def _accepted_p50(connection: sa.Connection, seconds: float, environment: str | None) -> dict[str | None, float]:
    """By kind. Taken here, since each database has its own way to subtract times."""
    ended = _ended(seconds, DELIVERY.c.state, DELIVERY.c.finished_at)
    columns = [MESSAGE.c.kind, MESSAGE.c.created_at, ended.c.finished_at]
    statement = sa.select(*columns).join(MESSAGE, MESSAGE.c.id == ended.c.message_id)
    statement = statement.where(ended.c.state == State.SENT.value)
    if environment is not None:
        statement = statement.where(MESSAGE.c.environment == environment)
    taken: dict[str | None, list[float]] = {}
    for kind, created_at, finished_at in connection.execute(statement):
        taken.setdefault(kind, []).append(max(0.0, (finished_at - created_at).total_seconds()))
    return {kind: statistics.median(of) for kind, of in taken.items()}


def _row(kind: str | None, counts: dict[tuple[str, int], int], accepted_p50: float | None) -> KindRow:
    def of(state: State) -> int:
        return sum(number for (name, _), number in counts.items() if name == state.value)

    deferred = counts.get((State.QUEUED.value, 1), 0)
    return KindRow(
        kind, of(State.SENT), of(State.FAILED), of(State.UNCERTAIN), of(State.QUEUED), deferred, accepted_p50
    )
