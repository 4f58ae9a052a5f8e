"""The table of which DKIM selectors have signed, and from when on."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.store.databases import table_options
from outbox.store.models import Base
from outbox.store.types import UtcDateTime, big_integer


class OutboxDkimTurn(Base):
    """From when on a selector signs what is enqueued, by one transport and kind of key: a row for each rotation."""

    __tablename__ = "outbox_dkim_turn"
    __table_args__ = (table_options(),)

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    environment: Mapped[str] = mapped_column(sa.String(64))
    transport: Mapped[str] = mapped_column(sa.String(255))  # as `Relay.name`
    algorithm: Mapped[str] = mapped_column(sa.String(16))  # "rsa" or "ed25519"
    selector: Mapped[str] = mapped_column(sa.String(255))
    since: Mapped[datetime] = mapped_column(UtcDateTime())
