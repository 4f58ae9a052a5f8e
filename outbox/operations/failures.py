"""What failed lately, grouped by cause and domain."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.operations.health import FailureGroup
from outbox.operations.tables import DELIVERY, in_state
from outbox.states import State

FAILURES_SEEN = 5_000
FAILURE_GROUPS = 10
DAY = 86_400.0


def failures(connection: sa.Connection, most: int = FAILURE_GROUPS) -> list[FailureGroup]:
    """The `most` largest groups of the last 24 hours among the newest FAILURES_SEEN failed deliveries.

    Failed mail is never purged by itself, and may be many.
    """
    code = sa.cast(DELIVERY.c.code, sa.String(11))
    newest = (
        sa.select(
            sa.func.coalesce(DELIVERY.c.enhanced, code, DELIVERY.c.reason, "?").label("error"),
            DELIVERY.c.domain,
            DELIVERY.c.finished_at,
            DELIVERY.c.reply,
        )
        .where(in_state(State.FAILED))
        .order_by(DELIVERY.c.state.desc(), DELIVERY.c.id.desc())
        .limit(FAILURES_SEEN)
        .subquery()
    )
    number = sa.func.count().label("number")
    rows = connection.execute(
        sa.select(
            newest.c.error,
            newest.c.domain,
            number,
            sa.func.min(newest.c.finished_at).label("first"),
            sa.func.max(newest.c.finished_at).label("last"),
            sa.func.max(newest.c.reply).label("reply"),
        )
        .where(newest.c.finished_at >= DbNow(-DAY))
        .group_by(newest.c.error, newest.c.domain)
        .order_by(number.desc(), newest.c.error, newest.c.domain)
        .limit(most)
    )
    return [FailureGroup(row.error, row.domain, row.number, row.first, row.last, row.reply) for row in rows]
