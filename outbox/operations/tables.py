"""The outbox's tables, as Core knows them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.store.batch_model import OutboxBatch
from outbox.store.digest_model import OutboxDigestItem
from outbox.store.effect_model import OutboxEffect
from outbox.store.event_models import OutboxEvent, OutboxSuppression
from outbox.store.models import (
    OutboxAttempt,
    OutboxAudit,
    OutboxBlob,
    OutboxDelivery,
    OutboxMessage,
    OutboxMessageBlob,
    OutboxPause,
    OutboxThrottle,
    OutboxWorker,
    table_of,
)
from outbox.store.rate_models import OutboxRate
from outbox.store.transport_model import OutboxTransport

MESSAGE = table_of(OutboxMessage)
BLOB = table_of(OutboxBlob)
PART = table_of(OutboxMessageBlob)
DELIVERY = table_of(OutboxDelivery)
ATTEMPT = table_of(OutboxAttempt)
WORKER = table_of(OutboxWorker)
PAUSE = table_of(OutboxPause)
RATE = table_of(OutboxRate)
THROTTLE = table_of(OutboxThrottle)
AUDIT = table_of(OutboxAudit)
BATCH = table_of(OutboxBatch)
DIGEST_ITEM = table_of(OutboxDigestItem)
EFFECT = table_of(OutboxEffect)
EVENT = table_of(OutboxEvent)
SUPPRESSION = table_of(OutboxSuppression)
TRANSPORT = table_of(OutboxTransport)


def in_state(state: State) -> sa.ColumnElement[bool]:
    """Of this state, to be ordered by state and id: so only the index on both serves.

    With an equation PostgreSQL leaves the state out of the order, and may go along the primary key instead: through all
    that came after the last of them. MySQL and MariaDB make an equation of BETWEEN, and sort.
    """
    return sa.and_(DELIVERY.c.state >= state.value, DELIVERY.c.state <= state.value)


def in_states(states: Sequence[State]) -> sa.ColumnElement[bool]:
    """Of one of these; where it is one alone, as `in_state`."""
    return in_state(states[0]) if len(states) == 1 else DELIVERY.c.state.in_([state.value for state in states])


def environments(connection: sa.Connection) -> set[str]:
    """The first and the last by name that messages are of: where all are of one, that one."""
    # the ends of the index on environment and key
    ends = (connection.execute(sa.select(end(MESSAGE.c.environment))).scalar() for end in (sa.func.min, sa.func.max))
    return {name for name in ends if name is not None}
