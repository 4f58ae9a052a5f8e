"""The table of what is gathered for digests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.store.databases import table_options
from outbox.store.models import Base
from outbox.store.sealing import Sealable, SealableJson
from outbox.store.types import Digest, UtcDateTime, big_integer


class OutboxDigestItem(Base):
    """One item that waits for its recipient's next digest, and is removed with the message that tells of it."""

    __tablename__ = "outbox_digest_item"
    __table_args__ = (
        sa.Index("ix_outbox_digest_item_due", "name", "environment", "due_at"),
        sa.Index("ix_outbox_digest_item_digest", "digest", "name", "environment"),
        table_options(ids_once=True),
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    environment: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(64))  # of the digest
    recipient: Mapped[str] = mapped_column(Sealable(600, "recipient", always=True))
    digest: Mapped[str] = mapped_column(Digest())  # of the recipient: `message.digest`
    item: Mapped[Any] = mapped_column(SealableJson("item", always=True))  # [what the application gave]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())
    due_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime()
    )  # when the window that it would open ends; the end of a lease; None: given up
    attempts: Mapped[int] = mapped_column(sa.Integer, server_default="0")  # counted before each call
    error: Mapped[str | None] = mapped_column(Sealable(500, "error", always=True))  # of the last one
