"""The tables of what comes after the relay's 250: events, and the addresses that get nothing because of them."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from outbox.delivery.reported import EventType
from outbox.delivery.suppression import Why
from outbox.store.databases import HASHED, table_options
from outbox.store.models import Base, one_of
from outbox.store.sealing import Sealable
from outbox.store.types import Digest, No, UtcDateTime, big_integer, short_integer


class OutboxEvent(Base):
    """What was reported of one recipient: written once, and once for each event of its source."""

    __tablename__ = "outbox_event"
    __table_args__ = (
        sa.CheckConstraint(one_of("type", EventType), name="ck_outbox_event_type"),
        sa.UniqueConstraint("source", "event_id", name="uq_outbox_event_source"),
        sa.Index("ix_outbox_event_delivery", "delivery_id"),
        sa.Index("ix_outbox_event_type", "type", "delivery_id"),
        sa.Index("ix_outbox_event_message", "message_pk"),
        sa.Index("ix_outbox_event_digest", "digest", "recorded_at"),
        sa.Index("ix_outbox_event_recorded", "recorded_at"),
        table_options(ids_once=True),
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    type: Mapped[str] = mapped_column(sa.String(16))  # `reported.EventType`
    source: Mapped[str] = mapped_column(sa.String(32))  # the way in: "smtp", "report", or a provider
    event_id: Mapped[str] = mapped_column(sa.String(255))  # the source's own, in the form that it is compared in
    delivery_id: Mapped[int | None] = mapped_column(big_integer())  # no foreign key: the event outlives it
    message_pk: Mapped[int | None] = mapped_column(big_integer())
    recipient: Mapped[str | None] = mapped_column(Sealable(600, "recipient", always=True))  # as reported
    digest: Mapped[str | None] = mapped_column(Digest())  # of the delivery's recipient
    proven: Mapped[bool] = mapped_column(sa.Boolean, server_default=No())  # who reports it is known
    tied: Mapped[str | None] = mapped_column(sa.String(10))  # how its delivery was found: `event_ties.Tie`
    at: Mapped[datetime] = mapped_column(UtcDateTime())  # when it happened, as reported
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime())
    code: Mapped[int | None] = mapped_column(sa.SmallInteger)
    enhanced: Mapped[str | None] = mapped_column(sa.String(11))
    soft: Mapped[bool] = mapped_column(sa.Boolean, server_default=No())  # a bounce that its source calls temporary
    reply: Mapped[str | None] = mapped_column(Sealable(1000, "reply", always=True))
    category: Mapped[str | None] = mapped_column(sa.String(80))  # the source's word for the cause, or our scope


class OutboxSuppression(Base):
    """That an address gets no mail of a scope, and why. Without effect after `until`."""

    __tablename__ = "outbox_suppression"
    __table_args__ = (
        sa.CheckConstraint(one_of("reason", Why), name="ck_outbox_suppression_reason"),
        sa.UniqueConstraint("scope", "reason", "digest", name="uq_outbox_suppression_scope"),
        sa.Index("ix_outbox_suppression_digest", "digest", **HASHED),
        sa.Index("ix_outbox_suppression_address", "address"),
        sa.Index("ix_outbox_suppression_until", "until"),
        table_options(ids_once=True),
    )

    id: Mapped[int] = mapped_column(short_integer(), primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(Digest())  # `message.digest`
    scope: Mapped[str] = mapped_column(sa.String(80))  # "all", "category:subscription", "kind:newsletter"
    reason: Mapped[str] = mapped_column(sa.String(16))  # `suppression.Why`
    address: Mapped[str | None] = mapped_column(
        Sealable(600, "address", always=True)
    )  # for people to read; None: erased, or never known
    event_id: Mapped[int | None] = mapped_column(big_integer())  # the `outbox_event` that it follows from
    note: Mapped[str | None] = mapped_column(Sealable(500, "note", always=True))  # the server's words, or a person's
    actor: Mapped[str] = mapped_column(sa.String(255))  # who: a person, or the source of the event
    since: Mapped[datetime] = mapped_column(UtcDateTime())
    until: Mapped[datetime | None] = mapped_column(UtcDateTime())  # None: without end
