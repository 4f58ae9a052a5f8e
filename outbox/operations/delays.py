"""A warning for each message that is late, once: an event of the type `delayed`, which handlers are told of.

Late is what was first due long ago and is still queued: deferred, paused, or waiting for a worker. When a deferred one
was first due, its first attempt says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.core.loggers import get_logger
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.states import State
from outbox.operations.events import EventSettings, record
from outbox.operations.tables import ATTEMPT, DELIVERY, EVENT, MESSAGE, in_state
from outbox.store.reading import reading
from outbox.store.types import DbNow

logger = get_logger("outbox.delays")

SOURCE = "worker"
WINDOW = 2_000
"""Queued deliveries looked at in one read."""

RECENT_SECONDS = 30 * 86_400.0


@dataclass(slots=True)
class Delays:
    """Looks at what is queued, window by window. Of one worker."""

    engine: sa.Engine
    settings: EventSettings
    environment: str
    late: float
    """Seconds after which a message is late."""

    def run(self, got_on: Callable[[], object] = lambda: None) -> int:
        """Warn of what is late and was not warned of; of how many. `got_on`: called before each window."""
        after: int | None = 0
        warned = 0
        while after is not None:
            got_on()
            with reading(self.engine) as connection:
                after, late = self._look(connection, after)
            reports = {row.message_id: row.id for row in reversed(late)}  # one delivery of each message
            events = [
                ReportedEvent(EventType.DELAYED, SOURCE, f"delayed:{pk}", delivery_id=id, proven=True)
                for pk, id in sorted(reports.items())
            ]
            for one in record(self.engine, self.settings, events) if events else ():
                if one.id is not None:
                    warned += 1
                    logger.warning("status=delayed delivery=%s: queued for over %g s", one.delivery_id, self.late)
        return warned

    def _look(self, connection: sa.Connection, after: int) -> tuple[int | None, list[Any]]:
        """The last id of the next window, None at the end; and those in it that are late."""
        queued = sa.select(DELIVERY.c.id).where(in_state(State.QUEUED), DELIVERY.c.id > after)
        ids = list(connection.execute(queued.order_by(DELIVERY.c.state, DELIVERY.c.id).limit(WINDOW)).scalars())
        if not ids:
            return None, []
        long_ago = DbNow(-self.late)
        first = sa.select(sa.func.min(ATTEMPT.c.at)).where(ATTEMPT.c.delivery_id == DELIVERY.c.id).scalar_subquery()
        told = sa.exists().where(EVENT.c.message_pk == MESSAGE.c.id, EVENT.c.type == EventType.DELAYED.value)
        statement = (
            sa.select(DELIVERY.c.id, DELIVERY.c.message_id)
            .select_from(DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id))
            .where(DELIVERY.c.id.in_(ids), MESSAGE.c.environment == self.environment, MESSAGE.c.created_at < long_ago)
            .where(sa.or_(DELIVERY.c.due_at < long_ago, first < long_ago), ~told)
            .order_by(DELIVERY.c.id)
        )
        return (ids[-1] if len(ids) == WINDOW else None), list(connection.execute(statement).all())


def late_now(connection: sa.Connection, environment: str, cap: int) -> int:
    """Messages that were warned of and are not sent yet; among the newest `cap` events."""
    newest = sa.select(EVENT.c.type, EVENT.c.delivery_id).where(EVENT.c.recorded_at >= DbNow(-RECENT_SECONDS))
    some = newest.order_by(EVENT.c.recorded_at.desc()).limit(cap).subquery()
    live = (
        sa.select(sa.func.count())
        .select_from(
            some.join(DELIVERY, DELIVERY.c.id == some.c.delivery_id).join(
                MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id
            )
        )
        .where(some.c.type == EventType.DELAYED.value, DELIVERY.c.due_at.is_not(None))
        .where(MESSAGE.c.environment == environment)
    )
    return int(connection.execute(live).scalar_one())
