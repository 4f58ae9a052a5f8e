"""The outbox's tables, for applications and their migrations."""

from __future__ import annotations

from outbox.store.batch_model import OutboxBatch
from outbox.store.digest_model import OutboxDigestItem
from outbox.store.dkim_model import OutboxDkimTurn
from outbox.store.effect_model import OutboxEffect
from outbox.store.event_models import OutboxEvent, OutboxSuppression
from outbox.store.models import (
    Base,
    OutboxAttempt,
    OutboxAudit,
    OutboxBlob,
    OutboxDelivery,
    OutboxMessage,
    OutboxMessageBlob,
    OutboxPause,
    OutboxSchema,
    OutboxThrottle,
    OutboxWorker,
    table_of,
)
from outbox.store.rate_models import OutboxRate
from outbox.store.transport_model import OutboxTransport

__all__ = [
    "Base",
    "OutboxAttempt",
    "OutboxAudit",
    "OutboxBatch",
    "OutboxBlob",
    "OutboxDelivery",
    "OutboxDigestItem",
    "OutboxEffect",
    "OutboxEvent",
    "OutboxDkimTurn",
    "OutboxMessage",
    "OutboxMessageBlob",
    "OutboxPause",
    "OutboxRate",
    "OutboxSchema",
    "OutboxSuppression",
    "OutboxThrottle",
    "OutboxTransport",
    "OutboxWorker",
    "table_of",
]
