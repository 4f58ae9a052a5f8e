"""The table of batches: what is known of many messages that were enqueued under one name."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.delivery.batch_states import BatchState, CanaryState
from outbox.store.databases import table_options
from outbox.store.models import Base, one_of
from outbox.store.types import UtcDateTime, big_integer


class OutboxBatch(Base):
    """One batch. Whoever adds a portion to it, or ends it, holds the lock of this row."""

    __tablename__ = "outbox_batch"
    __table_args__ = (
        sa.UniqueConstraint("environment", "name", name="uq_outbox_batch_name"),
        sa.CheckConstraint(one_of("state", BatchState), name="ck_outbox_batch_state"),
        sa.CheckConstraint(f"canary IS NULL OR {one_of('canary', CanaryState)}", name="ck_outbox_batch_canary"),
        table_options(ids_once=True),
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    environment: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(100))
    kind: Mapped[str | None] = mapped_column(sa.String(64))
    state: Mapped[str] = mapped_column(sa.String(10))
    messages: Mapped[int] = mapped_column(big_integer(), server_default="0")  # enqueued so far
    deliveries: Mapped[int] = mapped_column(big_integer(), server_default="0")
    refused: Mapped[int] = mapped_column(big_integer(), server_default="0")  # items of which no message could be made
    expected: Mapped[int | None] = mapped_column(big_integer())  # messages, as the application said
    counts: Mapped[dict[str, int] | None] = mapped_column(sa.JSON(none_as_null=True))  # by state, at `counted_at`
    counted_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())
    filled_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # the last portion was committed, or cancelled
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # nothing of it was queued or being sent any more
    canary: Mapped[str | None] = mapped_column(sa.String(8))
    canary_share: Mapped[float | None] = mapped_column(sa.Float)
    canary_limit: Mapped[float | None] = mapped_column(sa.Float)  # share of the canary's deliveries that may go wrong
    canary_wait: Mapped[float | None] = mapped_column(sa.Float)  # seconds after the canary's end, for bounces
    canary_size: Mapped[int | None] = mapped_column(big_integer())  # deliveries; None: not known yet
    canary_to: Mapped[int | None] = mapped_column(big_integer())  # the id of the canary's last delivery
