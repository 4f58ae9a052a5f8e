"""The table of what the workers know together of their transports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.store.databases import table_options
from outbox.store.models import Base
from outbox.store.sealing import Sealable
from outbox.store.types import UtcDateTime, big_integer


class OutboxTransport(Base):
    """What the workers of one environment have found out about one transport: all read it, who finds out writes it."""

    __tablename__ = "outbox_transport"
    __table_args__ = (sa.CheckConstraint("state IN ('up', 'down')", name="ck_outbox_transport_state"), table_options())

    environment: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(255), primary_key=True)  # as `Relay.name`
    state: Mapped[str] = mapped_column(sa.String(4))  # "up", or "down": one delivery at a time finds out
    since: Mapped[datetime] = mapped_column(UtcDateTime())
    error: Mapped[str | None] = mapped_column(
        Sealable(1100, "error", always=True)
    )  # down: the phase, and the server's words or ours
    cause: Mapped[str | None] = mapped_column(sa.String(16))  # down: `breaker.Cause`
    about: Mapped[str | None] = mapped_column(sa.String(11))  # down: `reply.About`
    probe_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # down: when the next delivery may try it
    paces: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))  # lower rates: see `store.paces`
    ramped_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # when a backlog was let go: see `delivery.ramp`
    shares: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))  # see `store.shares`
    prober_id: Mapped[int | None] = mapped_column(big_integer())  # down: the worker whose probe is under way
