"""What failed lately, and what is deferred, counted and grouped by cause and domain."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import Lane, State
from outbox.operations.conditions import was_deferred
from outbox.operations.due import count_to
from outbox.operations.health import FailureGroup
from outbox.operations.tables import ATTEMPT, DELIVERY, MESSAGE, in_state
from outbox.store.databases import of
from outbox.store.types import DbNow

FAILURES_SEEN = 5_000
FAILURE_GROUPS = 10
DAY = 86_400.0


def failures(
    connection: sa.Connection, most: int = FAILURE_GROUPS, *, environment: str | None = None, seconds: float = DAY
) -> list[FailureGroup]:
    """The `most` largest groups of the last `seconds` among the newest FAILURES_SEEN failed deliveries.

    Failed mail is never purged by itself, and may be many. `environment`: only of this one.
    """
    newest = (
        _causes(DELIVERY.c.finished_at)
        .where(in_state(State.FAILED))
        .order_by(DELIVERY.c.state.desc(), DELIVERY.c.id.desc())
        .limit(FAILURES_SEEN)
        .subquery()
    )
    late = sa.select(newest).where(newest.c.at >= DbNow(-seconds)).subquery()
    return _groups(connection, late, most, environment)


def deferred(
    connection: sa.Connection, most: int = FAILURE_GROUPS, *, environment: str | None = None
) -> list[FailureGroup]:
    """The same of what is deferred: it was attempted, and its next attempt is not due yet; the FAILURES_SEEN due first.

    Its times are those of the last attempt.
    """
    waiting = sa.union_all(*(sa.select(_waiting(connection, lane, retry)) for lane in Lane for retry in (True, False)))
    return _groups(connection, waiting.subquery(), most, environment)


def count_deferred(connection: sa.Connection, cap: int) -> int:
    """How many deliveries are deferred; it stops at `cap` + 1.

    Attempts that did not count leave a delivery among those that were never attempted: of these only the FAILURES_SEEN
    that are due first in each lane are looked at.
    """
    retries = DELIVERY.c.lane.in_([lane.slot(retry=True) for lane in Lane])
    counted = count_to(connection, cap, retries, DELIVERY.c.due_at > DbNow(), _queued())
    others = sa.union_all(*(sa.select(_waiting(connection, lane, retry=False).c.at) for lane in Lane)).subquery()
    found = connection.execute(sa.select(sa.func.count()).select_from(others)).scalar_one()
    return min(counted + int(found), cap + 1)


def _queued() -> sa.ColumnElement[bool]:
    return DELIVERY.c.state == State.QUEUED.value


def _waiting(connection: sa.Connection, lane: Lane, retry: bool) -> sa.Subquery:
    """What was attempted in one index range: all of it among the retries, of the others those that have a reason."""
    at = DELIVERY.c.updated_at
    slot = lane.slot(retry=retry)
    in_range = (of(connection).begins_with(DELIVERY.c.lane, slot), DELIVERY.c.due_at > DbNow())
    first = (
        _causes(at, _queued().label("waits") if retry else was_deferred().label("waits"))
        .where(*in_range)
        .order_by(DELIVERY.c.lane, DELIVERY.c.due_at)
        .limit(FAILURES_SEEN)
        .subquery()
    )
    return sa.select(first).where(first.c.waits).subquery()


def _causes(at: sa.ColumnElement[Any], *more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    code = sa.cast(DELIVERY.c.code, sa.String(11))
    error = sa.func.coalesce(DELIVERY.c.enhanced, code, DELIVERY.c.reason, "?").label("error")
    return sa.select(error, DELIVERY.c.domain, at.label("at"), DELIVERY.c.id, DELIVERY.c.message_id, *more)


def _groups(connection: sa.Connection, causes: sa.Subquery, most: int, environment: str | None) -> list[FailureGroup]:
    number = sa.func.count().label("number")
    mine: sa.ColumnElement[bool] = sa.true()
    if environment is not None:
        # one look by primary key for each row; of a message that is gone nobody knows whose it was
        stamp = sa.select(MESSAGE.c.environment).where(MESSAGE.c.id == causes.c.message_id).scalar_subquery()
        mine = sa.func.coalesce(stamp, environment) == environment
    rows = connection.execute(
        sa.select(
            causes.c.error,
            causes.c.domain,
            number,
            sa.func.min(causes.c.at).label("first"),
            sa.func.max(causes.c.at).label("last"),
            sa.func.max(causes.c.id).label("newest"),
        )
        .where(mine)
        .group_by(causes.c.error, causes.c.domain)
        .order_by(number.desc(), causes.c.error, causes.c.domain)
        .limit(most)
    ).all()
    said = _said(connection, [row.newest for row in rows])
    return [
        FailureGroup(row.error, row.domain, row.number, row.first, row.last, *said.get(row.newest, (None, None)))
        for row in rows
    ]


def _said(connection: sa.Connection, ids: list[int]) -> dict[int, tuple[str | None, str | None]]:
    """The last reply to each delivery, and which transport gave it."""
    last = (
        sa.select(ATTEMPT.c.transport)
        .where(ATTEMPT.c.delivery_id == DELIVERY.c.id)
        .order_by(ATTEMPT.c.id.desc())
        .limit(1)
        .scalar_subquery()
        .label("transport")
    )
    rows = connection.execute(sa.select(DELIVERY.c.id, DELIVERY.c.reply, last).where(DELIVERY.c.id.in_(ids)))
    return {row.id: (row.reply, row.transport) for row in rows}
