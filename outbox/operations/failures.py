"""What failed lately, and what waits after a failure, grouped by cause and domain."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.operations.health import FailureGroup
from outbox.operations.tables import DELIVERY, in_state
from outbox.states import Lane, State

FAILURES_SEEN = 5_000
FAILURE_GROUPS = 10
DAY = 86_400.0
RETRIES = [lane.slot(retry=True) for lane in Lane]


def failures(connection: sa.Connection, most: int = FAILURE_GROUPS) -> list[FailureGroup]:
    """The `most` largest groups of the last 24 hours among the newest FAILURES_SEEN failed deliveries.

    Failed mail is never purged by itself, and may be many.
    """
    newest = (
        _causes(DELIVERY.c.finished_at)
        .where(in_state(State.FAILED))
        .order_by(DELIVERY.c.state.desc(), DELIVERY.c.id.desc())
        .limit(FAILURES_SEEN)
        .subquery()
    )
    return _groups(connection, sa.select(newest).where(newest.c.at >= DbNow(-DAY)).subquery(), most)


def deferred(connection: sa.Connection, most: int = FAILURE_GROUPS) -> list[FailureGroup]:
    """The same of mail that was tried in vain and waits for its next try, among the FAILURES_SEEN due first.

    Its times are those of the last try.
    """
    waiting = sa.union_all(
        *(
            sa.select(
                _causes(DELIVERY.c.updated_at)
                .where(DELIVERY.c.lane == slot, DELIVERY.c.due_at.is_not(None), DELIVERY.c.state == State.QUEUED.value)
                .order_by(DELIVERY.c.due_at)
                .limit(FAILURES_SEEN)
                .subquery()
            )
            for slot in RETRIES
        )
    )
    return _groups(connection, waiting.subquery(), most)


def _causes(at: sa.ColumnElement[Any]) -> sa.Select[Any]:
    code = sa.cast(DELIVERY.c.code, sa.String(11))
    error = sa.func.coalesce(DELIVERY.c.enhanced, code, DELIVERY.c.reason, "?").label("error")
    return sa.select(error, DELIVERY.c.domain, at.label("at"), DELIVERY.c.reply)


def _groups(connection: sa.Connection, causes: sa.Subquery, most: int) -> list[FailureGroup]:
    number = sa.func.count().label("number")
    rows = connection.execute(
        sa.select(
            causes.c.error,
            causes.c.domain,
            number,
            sa.func.min(causes.c.at).label("first"),
            sa.func.max(causes.c.at).label("last"),
            sa.func.max(causes.c.reply).label("reply"),
        )
        .group_by(causes.c.error, causes.c.domain)
        .order_by(number.desc(), causes.c.error, causes.c.domain)
        .limit(most)
    )
    return [FailureGroup(row.error, row.domain, row.number, row.first, row.last, row.reply) for row in rows]
