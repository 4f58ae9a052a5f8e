"""The table of effects: what handlers and webhooks are still to do about an outcome or an event."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.store.databases import table_options
from outbox.store.models import Base
from outbox.store.sealing import Sealable
from outbox.store.types import UtcDateTime, big_integer


class OutboxEffect(Base):
    """One call of one handler or webhook, written with what it is about, and removed with what it does."""

    __tablename__ = "outbox_effect"
    __table_args__ = (
        sa.UniqueConstraint("name", "effect_key", name="uq_outbox_effect_key"),
        sa.Index("ix_outbox_effect_due", "name", "environment", "due_at"),
        table_options(ids_once=True),
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    environment: Mapped[str] = mapped_column(sa.String(64))  # of the message
    name: Mapped[str] = mapped_column(sa.String(200))  # of the handler, or "webhook:" and the webhook's
    type: Mapped[str] = mapped_column(sa.String(16))  # "sent", "bounced", …: `delivery.happened.TYPES`
    effect_key: Mapped[str] = mapped_column(sa.String(64))  # of what it is about, once for each name
    delivery_id: Mapped[int | None] = mapped_column(big_integer())  # no foreign key: it outlives the message
    token: Mapped[int | None] = mapped_column(big_integer())  # of the attempt that it is about
    event_id: Mapped[int | None] = mapped_column(big_integer())  # the `outbox_event` that it is about
    batch_id: Mapped[int | None] = mapped_column(big_integer())  # the `outbox_batch` that it is about
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # None: given up
    attempts: Mapped[int] = mapped_column(sa.Integer, server_default="0")  # counted before each call
    error: Mapped[str | None] = mapped_column(Sealable(500, "error", always=True))  # of the last one
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())
