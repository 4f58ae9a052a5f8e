"""The outbox's tables, as Core knows them."""

from __future__ import annotations

from typing import cast

import sqlalchemy as sa

from outbox.models import (
    OutboxAttempt,
    OutboxAudit,
    OutboxBlob,
    OutboxDelivery,
    OutboxMessage,
    OutboxMessageBlob,
    OutboxPause,
    OutboxWorker,
)

MESSAGE = cast(sa.Table, OutboxMessage.__table__)
BLOB = cast(sa.Table, OutboxBlob.__table__)
PART = cast(sa.Table, OutboxMessageBlob.__table__)
DELIVERY = cast(sa.Table, OutboxDelivery.__table__)
ATTEMPT = cast(sa.Table, OutboxAttempt.__table__)
WORKER = cast(sa.Table, OutboxWorker.__table__)
PAUSE = cast(sa.Table, OutboxPause.__table__)
AUDIT = cast(sa.Table, OutboxAudit.__table__)
