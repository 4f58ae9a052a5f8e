"""The outbox's tables: what is kept of a message, its deliveries, their attempts, and the workers.

The package `outbox.schema` creates and changes them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from outbox.delivery.states import LIVE, OnUncertain, State
from outbox.store.databases import index_options, table_options
from outbox.store.sealing import Sealable, SealableBinary, SealableJson
from outbox.store.types import Digest, No, UtcDateTime, big_integer

_OPTIONS = table_options()
_REFERRED_TO = table_options(ids_once=True)  # the audit and logs refer to ids


def one_of(column: str, values: Any) -> str:
    """SQL: `column` has one of these values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


IS_LIVE = one_of("state", [state for state in State if state in LIVE])


class Base(DeclarativeBase):
    """The outbox's own metadata, so that it can live beside any application's."""

    def __repr__(self) -> str:
        """By what is known without asking the database; no body."""
        known = sa.inspect(self).dict
        shown = " ".join(f"{name}={known[name]!r}" for name in _SHOWN if known.get(name) is not None)
        return f"<{type(self).__name__} {shown}>"


_SHOWN = ("id", "message_id", "recipient", "subject", "key", "kind", "state", "reason", "host", "pid")


def table_of(model: type[Base]) -> sa.Table:
    """The table of a model, typed as what it is."""
    return cast(sa.Table, model.__table__)


def new_id(inserted: sa.CursorResult[Any]) -> int:
    """The id of the one row that was inserted."""
    return int(cast(Any, inserted.inserted_primary_key)[0])


class OutboxMessage(Base):
    """What was rendered: written once, later only redacted or purged."""

    __tablename__ = "outbox_message"
    __table_args__ = (
        sa.UniqueConstraint("environment", "key", name="uq_outbox_message_environment_key"),
        sa.CheckConstraint(one_of("on_uncertain", OnUncertain), name="ck_outbox_message_on_uncertain"),
        sa.Index("ix_outbox_message_message_id", "message_id"),
        _REFERRED_TO,
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    message_id: Mapped[str] = mapped_column(sa.String(320))  # the header, with its angle brackets
    environment: Mapped[str] = mapped_column(sa.String(64), default="")
    key: Mapped[str | None] = mapped_column(sa.String(255))
    kind: Mapped[str | None] = mapped_column(sa.String(64))
    category: Mapped[str | None] = mapped_column(sa.String(16))  # of its kind, when it was enqueued
    lane: Mapped[int] = mapped_column(sa.SmallInteger)  # `Lane.rank`
    envelope_from: Mapped[str] = mapped_column(Sealable(600, "envelope_from"))
    subject: Mapped[str] = mapped_column(Sealable(998, "subject"))
    headers: Mapped[list[list[str]]] = mapped_column(
        SealableJson("headers")
    )  # [[name, value], …] decoded, in wire order
    skeleton: Mapped[bytes] = mapped_column(
        SealableBinary("skeleton"), deferred=True
    )  # the wire form without its big parts
    size: Mapped[int] = mapped_column(big_integer())  # bytes of the whole wire form
    smtputf8: Mapped[bool] = mapped_column(sa.Boolean, default=False)  # every delivery needs it
    utf8_header: Mapped[dict[str, Any] | None] = mapped_column(
        SealableJson("utf8_header", none_as_null=True)
    )  # {"replaces": bytes of the skeleton, "header": text}: `message.Utf8Header`, for recipients that are not ASCII
    options: Mapped[dict[str, list[str]] | None] = mapped_column(
        SealableJson("options", none_as_null=True)
    )  # {"mail": […], "rcpt": […]} as Flask-Mail has them; "date": the application gave the Date; "tags"
    on_uncertain: Mapped[str] = mapped_column(sa.String(8), default=OnUncertain.RETRY)
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", SealableJson("metadata", none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    redacted_at: Mapped[datetime | None] = mapped_column(UtcDateTime())

    deliveries: Mapped[list[OutboxDelivery]] = relationship(
        back_populates="message", order_by="OutboxDelivery.id", viewonly=True
    )


class OutboxBlob(Base):
    """A big part, decoded, stored once per content."""

    __tablename__ = "outbox_blob"
    __table_args__ = (_OPTIONS,)

    digest: Mapped[str] = mapped_column(sa.CHAR(64), primary_key=True)  # SHA-256, hexadecimal; sealed: `blobs.Sealing`
    size: Mapped[int] = mapped_column(big_integer())  # bytes, in clear
    data: Mapped[bytes] = mapped_column(SealableBinary("blob"), deferred=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())


class OutboxMessageBlob(Base):
    """Where in a message's skeleton the base64 lines of a blob belong."""

    __tablename__ = "outbox_message_blob"
    __table_args__ = (sa.Index("ix_outbox_message_blob_digest", "digest"), _OPTIONS)

    message_id: Mapped[int] = mapped_column(
        big_integer(), sa.ForeignKey("outbox_message.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    skeleton_offset: Mapped[int] = mapped_column(big_integer())  # bytes
    digest: Mapped[str] = mapped_column(sa.CHAR(64), sa.ForeignKey("outbox_blob.digest"))


class OutboxDelivery(Base):
    """One recipient of one message. Narrow: it is rewritten at each transition."""

    __tablename__ = "outbox_delivery"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", State), name="ck_outbox_delivery_state"),
        sa.CheckConstraint(f"({IS_LIVE}) = (due_at IS NOT NULL)", name="ck_outbox_delivery_live"),
        sa.CheckConstraint("(state = 'sending') = (token IS NOT NULL)", name="ck_outbox_delivery_leased"),
        sa.Index(
            "ix_outbox_delivery_due",
            "lane",
            "due_at",
            "id",
            **index_options("due_at IS NOT NULL"),
        ),
        sa.Index("ix_outbox_delivery_message", "message_id"),
        sa.Index("ix_outbox_delivery_state", "state", "id"),
        sa.Index("ix_outbox_delivery_recipient", "recipient", "id"),
        sa.Index("ix_outbox_delivery_batch", "batch_id", "state", "id", **index_options("batch_id IS NOT NULL")),
        sa.Index("ix_outbox_delivery_digest", "digest", "id", **index_options("finished_at IS NOT NULL")),
        sa.Index(
            "ix_outbox_delivery_finished",
            "finished_at",
            "state",
            **index_options("finished_at IS NOT NULL"),
        ),
        _REFERRED_TO,
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    message_id: Mapped[int] = mapped_column(big_integer(), sa.ForeignKey("outbox_message.id", ondelete="CASCADE"))
    batch_id: Mapped[int | None] = mapped_column(big_integer())  # of `OutboxBatch`, whose row may be purged before
    recipient: Mapped[str] = mapped_column(Sealable(600, "recipient"))
    domain: Mapped[str] = mapped_column(sa.String(255))
    digest: Mapped[str | None] = mapped_column(Digest())  # of the recipient: `message.digest`
    state: Mapped[str] = mapped_column(sa.String(10))
    lane: Mapped[int] = mapped_column(sa.SmallInteger)  # `Lane.slot`: priority, new mail before retries
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # when live: due, or the end of the lease
    attempts: Mapped[int] = mapped_column(sa.SmallInteger, default=0)  # counted attempts
    rescues: Mapped[int] = mapped_column(sa.SmallInteger, default=0)  # leases lost, or connections that broke on it
    deferrals: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")  # attempts that did not count, so far
    token: Mapped[int | None] = mapped_column(big_integer())  # the lease's fence
    worker_id: Mapped[int | None] = mapped_column(big_integer())  # who holds the lease
    route: Mapped[str] = mapped_column(sa.String(255), server_default=sa.text("''"))  # as `delivery.routes` has it
    transport: Mapped[str | None] = mapped_column(sa.String(64))  # among several, the one of the last claim
    marked_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # "hold": the final dot may have been sent
    unsuppressed: Mapped[bool] = mapped_column(sa.Boolean, server_default=No())  # a person wants it sent all the same
    code: Mapped[int | None] = mapped_column(sa.SmallInteger)  # last reply
    enhanced: Mapped[str | None] = mapped_column(sa.String(11))
    reply: Mapped[str | None] = mapped_column(Sealable(1000, "reply"))
    reason: Mapped[str | None] = mapped_column(sa.String(32))  # why it is in this state, one word (`retry.Reason`)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime())
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime())

    message: Mapped[OutboxMessage] = relationship(back_populates="deliveries", viewonly=True)
    attempt_log: Mapped[list[OutboxAttempt]] = relationship(order_by="OutboxAttempt.id", viewonly=True)


class OutboxAttempt(Base):
    """One attempt, written once."""

    __tablename__ = "outbox_attempt"
    __table_args__ = (
        sa.Index("ix_outbox_attempt_delivery", "delivery_id"),
        sa.Index("ix_outbox_attempt_relay", "relay_id", **index_options("relay_id IS NOT NULL")),
        _OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    delivery_id: Mapped[int] = mapped_column(big_integer(), sa.ForeignKey("outbox_delivery.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UtcDateTime())  # when it was recorded
    worker_id: Mapped[int | None] = mapped_column(big_integer())
    token: Mapped[int | None] = mapped_column(big_integer())  # the lease it was made under; one attempt for each lease
    transport: Mapped[str | None] = mapped_column(sa.String(255))  # host:port
    phase: Mapped[str] = mapped_column(sa.String(10))
    verdict: Mapped[str] = mapped_column(sa.String(13))
    code: Mapped[int | None] = mapped_column(sa.SmallInteger)
    enhanced: Mapped[str | None] = mapped_column(sa.String(11))
    reply: Mapped[str] = mapped_column(Sealable(1000, "reply"))
    relay_id: Mapped[str | None] = mapped_column(sa.String(255))  # the relay's own id from its final 250
    duration: Mapped[float] = mapped_column(sa.Float)  # seconds
    counted: Mapped[bool] = mapped_column(sa.Boolean)  # whether it cost the delivery an attempt
    fenced: Mapped[bool] = mapped_column(sa.Boolean, default=False)  # made although its lease was lost
    about: Mapped[str | None] = mapped_column(sa.String(11))  # what the failure was about (`reply.About`)
    note: Mapped[str | None] = mapped_column(Sealable(600, "note"))  # what was decided and why


class OutboxWorker(Base):
    """One start of an `outbox-sender` process."""

    __tablename__ = "outbox_worker"
    __table_args__ = (
        sa.Index("ix_outbox_worker_heartbeat", "heartbeat_at"),
        _REFERRED_TO,  # claims carry it
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    host: Mapped[str] = mapped_column(sa.String(255))
    pid: Mapped[int] = mapped_column(sa.Integer)
    version: Mapped[str] = mapped_column(sa.String(32))
    environment: Mapped[str] = mapped_column(sa.String(64), default="")
    connections: Mapped[int] = mapped_column(sa.SmallInteger)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime())
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime())
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # ended, or declared dead by another
    dead_after: Mapped[float | None] = mapped_column(sa.Float)  # seconds without a heartbeat until it counts as dead
    health: Mapped[dict[str, Any] | None] = mapped_column(
        SealableJson("health", none_as_null=True, always=True)
    )  # transports, counters, faults
    asked: Mapped[str | None] = mapped_column(sa.String(8))  # by a person: to "stop", or to "drain" and stop


class OutboxPause(Base):
    """A pause. The row is deleted when the pause is lifted, and has no effect after `until`."""

    __tablename__ = "outbox_pause"
    __table_args__ = (
        sa.CheckConstraint(
            "what IN ('all', 'kind', 'domain', 'transport', 'sender', 'message', 'batch')", name="ck_outbox_pause_what"
        ),
        sa.UniqueConstraint("what", "value", "environment", "transport", name="uq_outbox_pause_scope"),
        _OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    what: Mapped[str] = mapped_column(sa.String(16))  # `pauses.What`
    value: Mapped[str] = mapped_column(sa.String(255))  # the kind, domain, …; "" for all
    environment: Mapped[str] = mapped_column(sa.String(64), server_default="*")  # "*": all of them
    transport: Mapped[str] = mapped_column(
        sa.String(255), server_default=sa.text("''")
    )  # host:port where an automatic one arose
    automatic: Mapped[bool] = mapped_column(sa.Boolean, server_default=No())  # set by a worker, not a person
    reason: Mapped[str] = mapped_column(Sealable(500, "reason", always=True))
    reply: Mapped[str | None] = mapped_column(Sealable(1000, "reply", always=True))  # automatic: the server's words
    actor: Mapped[str] = mapped_column(sa.String(255))  # who set it
    since: Mapped[datetime] = mapped_column(UtcDateTime())
    until: Mapped[datetime | None] = mapped_column(UtcDateTime())
    probe_at: Mapped[datetime | None] = mapped_column(UtcDateTime())  # automatic: when one delivery may try it
    probe_seconds: Mapped[float | None] = mapped_column(sa.Float)  # automatic: from the last probe to the next


class OutboxAudit(Base):
    """One change by a person, written in the transaction of the change."""

    __tablename__ = "outbox_audit"
    __table_args__ = (_OPTIONS,)

    id: Mapped[int] = mapped_column(big_integer(), primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime())
    action: Mapped[str] = mapped_column(sa.String(32))
    actor: Mapped[str] = mapped_column(sa.String(255))
    count: Mapped[int] = mapped_column(big_integer())  # how many were changed
    filters: Mapped[str] = mapped_column(Sealable(1000, "filters", always=True))  # what was asked for
    note: Mapped[str | None] = mapped_column(Sealable(500, "note", always=True))
    delivery_ids: Mapped[str | None] = mapped_column(sa.String(1100))  # where they are few: " 1 2 3 "


class OutboxThrottle(Base):
    """What one recipient got lately of a kind with `throttle` or `replace`: who changes it holds its lock."""

    __tablename__ = "outbox_throttle"
    __table_args__ = (sa.Index("ix_outbox_throttle_expires", "expires_at"), _OPTIONS)

    digest: Mapped[str] = mapped_column(sa.CHAR(64), primary_key=True)  # keyed hash of environment, kind, recipient
    entries: Mapped[list[list[Any]]] = mapped_column(sa.JSON)  # `limits.Entry`, the newest last
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime())  # none of them counts after this


class OutboxSchema(Base):
    """One row: the version of these tables, where `outbox.schema` made them; none after `create_all`."""

    __tablename__ = "outbox_schema"
    __table_args__ = (_OPTIONS,)

    version: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    compatible: Mapped[int | None] = mapped_column(sa.Integer)  # releases from this version on work with it, too
