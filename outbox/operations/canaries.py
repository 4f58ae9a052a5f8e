"""The canary of a batch: judged by what became of its deliveries, once for all workers; the others released, or paused.

What waits for it is due in a far future, so that no claim of any worker can see it before it is released.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.core.events import logger
from outbox.delivery.batch_states import BatchState, CanaryState, goes_wrong
from outbox.delivery.reported import EventType
from outbox.delivery.retry import Reason
from outbox.delivery.states import LIVE, State
from outbox.operations import along_batch, pauses
from outbox.operations.tables import BATCH, DELIVERY, EVENT
from outbox.store.batches import release
from outbox.store.pauses import What
from outbox.store.posting import HELD
from outbox.store.reading import reading
from outbox.store.types import DbNow

RELEASED_AT_ONCE = 1_000

BY = "canary"
"""Who set its pause."""

_OURS = (Reason.SUPPRESSION.value, Reason.SUPPRESSED.value, Reason.BY_HAND.value)
"""Reasons for an end that say nothing against the others."""


class _Tally(NamedTuple):
    size: int
    refused: int
    deferred: int
    bounced: int
    waiting: int  # not attempted yet, being sent, or waiting for the relay
    quiet: float  # seconds since the last of it changed

    @property
    def wrong(self) -> int:
        return self.refused + self.deferred + self.bounced


def look(engine: sa.Engine, row: Any) -> None:
    """Judge the canary of the batch in `row`, or go on with what was judged."""
    if row.canary == CanaryState.RUNNING.value and row.canary_to is not None:
        _judge(engine, row)
    elif row.canary == CanaryState.FAILED.value:
        _look_for_pause(engine, row)
    elif row.canary == CanaryState.PASSED.value:
        _release(engine, row)


def _judge(engine: sa.Engine, row: Any) -> None:
    with reading(engine) as connection:
        tally = _tally(connection, row)
    if goes_wrong(tally.wrong, tally.size, row.canary_limit):
        reason = (
            f"of the first {tally.size} deliveries {tally.refused} were refused, {tally.deferred} deferred, "
            f"{tally.bounced} bounced: more than {100 * row.canary_limit:g} %"
        )
        with engine.begin() as connection:
            if _turned(connection, row, CanaryState.RUNNING, CanaryState.FAILED):
                pauses.pause(connection, What.BATCH, row.name, by=BY, reason=reason, environment=row.environment)
                logger.warning("batch %s is paused by its canary: %s", row.name, reason)
    elif not tally.waiting and tally.quiet >= row.canary_wait:
        with engine.begin() as connection:
            if _turned(connection, row, CanaryState.RUNNING, CanaryState.PASSED):
                logger.info("batch %s: its canary of %d is fine, the others are sent", row.name, tally.size)
        _release(engine, row)


def _tally(connection: sa.Connection, row: Any) -> _Tally:
    bounces = (EventType.BOUNCED.value, EventType.COMPLAINED.value)
    bounced = sa.exists().where(EVENT.c.delivery_id == DELIVERY.c.id, EVENT.c.type.in_(bounces))
    failed = DELIVERY.c.state.in_([State.FAILED.value, State.UNCERTAIN.value])
    ours = sa.func.coalesce(DELIVERY.c.reason, "").in_(_OURS)
    live = DELIVERY.c.state.in_(sorted(LIVE))
    # by the server; that the relay is down says nothing of the others
    deferred = sa.and_(live, sa.func.coalesce(DELIVERY.c.reason, "") == Reason.DEFERRED.value)

    def number(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((which, 1), else_=0)), 0)

    mine = (
        DELIVERY.c.batch_id == row.id,
        DELIVERY.c.state.in_([state.value for state in State]),  # so the index goes by state, then up to the id
        DELIVERY.c.id <= row.canary_to,
        sa.or_(DELIVERY.c.due_at.is_(None), DELIVERY.c.due_at < HELD),
    )
    found = connection.execute(
        sa.select(
            sa.func.count().label("size"),
            number(sa.and_(failed, sa.not_(ours))).label("refused"),
            number(deferred).label("deferred"),
            number(sa.and_(DELIVERY.c.state == State.SENT.value, bounced)).label("bounced"),
            number(sa.and_(live, sa.not_(deferred))).label("waiting"),
            sa.func.max(DELIVERY.c.updated_at).label("last"),
        ).where(*mine)
    ).one()
    now = connection.execute(sa.select(DbNow())).scalar_one()
    quiet = (now - found.last).total_seconds() if found.last is not None else row.canary_wait
    return _Tally(
        int(found.size), int(found.refused), int(found.deferred), int(found.bounced), int(found.waiting), quiet
    )


def _look_for_pause(engine: sa.Engine, row: Any) -> None:
    """A person who has lifted its pause wants the others sent."""
    with reading(engine) as connection:
        there = pauses.active(connection, row.environment)
    if any(one.what is What.BATCH and one.value == row.name for one in there):
        return
    with engine.begin() as connection:
        if _turned(connection, row, CanaryState.FAILED, CanaryState.PASSED):
            logger.info("batch %s: the pause of its canary was lifted, the others are sent", row.name)
    _release(engine, row)


def _release(engine: sa.Engine, row: Any) -> None:
    """Let the others be sent, a portion at a time: once it has passed, no more are added that wait."""
    last = 0
    while True:
        with engine.begin() as connection:
            next_ones = along_batch.behind(connection, row.id, State.QUEUED, last)
            some = sa.select(DELIVERY.c.id).where(*next_ones, DELIVERY.c.due_at == HELD)
            ids = list(connection.execute(some.order_by(*along_batch.ORDER).limit(RELEASED_AT_ONCE)).scalars())
            if not ids:
                _turned(connection, row, CanaryState.PASSED, CanaryState.RELEASED)
                return
            release(connection, ids)
        last = ids[-1]


def _turned(connection: sa.Connection, row: Any, before: CanaryState, after: CanaryState) -> bool:
    """Whether this worker is the one that says so."""
    same = (BATCH.c.id == row.id, BATCH.c.canary == before.value, BATCH.c.state != BatchState.CANCELLED.value)
    return bool(connection.execute(BATCH.update().where(*same).values(canary=after.value)).rowcount)
