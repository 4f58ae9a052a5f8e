"""The table of what is left of rates: see `store.rates`."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.store.databases import table_options
from outbox.store.models import Base
from outbox.store.types import UtcDateTime, big_integer


class OutboxRate(Base):
    """What is left of the rates of one transport, or of mail to one domain. Moments are microseconds since 1970."""

    __tablename__ = "outbox_rate"
    __table_args__ = (table_options(),)

    environment: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    what: Mapped[str] = mapped_column(sa.String(16), primary_key=True)  # "transport" or "domain"
    value: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    second_at: Mapped[int] = mapped_column(big_integer(), server_default="0")  # theoretical arrival times (GCRA)
    lent_until: Mapped[int] = mapped_column(big_integer(), server_default="0")  # from when on others follow a batch
    minute_at: Mapped[int] = mapped_column(big_integer(), server_default="0")
    hour_at: Mapped[int] = mapped_column(big_integer(), server_default="0")
    used: Mapped[int] = mapped_column(big_integer(), server_default="0")  # within a day, until `good_until`
    open_used: Mapped[int] = mapped_column(big_integer(), server_default="0")  # of those, in the bucket now filled
    open_until: Mapped[int] = mapped_column(big_integer(), server_default="0")  # when that bucket is full
    good_until: Mapped[int] = mapped_column(big_integer(), server_default="0")
    buckets: Mapped[list[list[int]]] = mapped_column(sa.JSON)  # the earlier ones: [[until, count], …]
    held: Mapped[dict[str, list[int]]] = mapped_column(sa.JSON)  # by worker: [permits given last, when]
    limits: Mapped[str] = mapped_column(sa.String(255))  # as its writer's settings had them
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime())
