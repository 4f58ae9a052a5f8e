"""Version 1 of the tables, which never changes: `outbox.models` may evolve, this may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from outbox.store.databases import index_options, table_options
from outbox.store.schema.complete import complete
from outbox.store.schema.version1_batches import add_batches
from outbox.store.schema.version1_events import add_events
from outbox.store.types import Digest, No, UtcDateTime, big_binary, big_integer

_OPTIONS = table_options()
_REFERRED_TO = table_options(ids_once=True)
_SUPERSEDED = {  # constraints of the tables before the first release
    "outbox_message": ("uq_outbox_message_key",),
    "outbox_pause": ("uq_outbox_pause_value",),
}


def upgrade(op: Any) -> None:
    """Create the tables, or make of those before the first release what they are now."""
    complete(op, tables, superseded=_SUPERSEDED)


def downgrade(op: Any) -> None:
    """Drop them all."""
    for table in reversed(tables().sorted_tables):
        op.execute(sa.schema.DropTable(table))


def tables(name: Callable[[str], str] = str) -> sa.MetaData:
    """The tables; `name` gives each another name."""
    metadata = sa.MetaData()
    _messages(metadata, name)
    _deliveries(metadata, name)
    _workers(metadata, name)
    add_events(metadata, name)
    add_batches(metadata, name)
    sa.Table(
        name("outbox_throttle"),
        metadata,
        sa.Column("digest", sa.CHAR(64), primary_key=True),
        sa.Column("entries", sa.JSON, nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Index("ix_outbox_throttle_expires", "expires_at"),
        **_OPTIONS,
    )
    zeros = ("second_at", "lent_until", "minute_at", "hour_at", "used", "open_used", "open_until", "good_until")
    sa.Table(
        name("outbox_rate"),
        metadata,
        sa.Column("environment", sa.String(64), primary_key=True),
        sa.Column("what", sa.String(16), primary_key=True),
        sa.Column("value", sa.String(255), primary_key=True),
        *(sa.Column(zero, big_integer(), nullable=False, server_default="0") for zero in zeros),
        sa.Column("buckets", sa.JSON, nullable=False),
        sa.Column("held", sa.JSON, nullable=False),
        sa.Column("limits", sa.String(255), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        **_OPTIONS,
    )
    sa.Table(
        name("outbox_transport"),
        metadata,
        sa.Column("environment", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("state", sa.String(4), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("error", sa.String(1100)),
        sa.Column("cause", sa.String(16)),
        sa.Column("about", sa.String(11)),
        sa.Column("probe_at", UtcDateTime()),
        sa.Column("paces", sa.JSON(none_as_null=True)),
        sa.Column("ramped_at", UtcDateTime()),
        sa.Column("shares", sa.JSON(none_as_null=True)),
        sa.Column("prober_id", big_integer()),
        sa.CheckConstraint("state IN ('up', 'down')", name="ck_outbox_transport_state"),
        **_OPTIONS,
    )
    sa.Table(
        name("outbox_dkim_turn"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("transport", sa.String(255), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("selector", sa.String(255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        **_OPTIONS,
    )
    sa.Table(
        name("outbox_schema"),
        metadata,
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("compatible", sa.Integer),
        **_OPTIONS,
    )
    return metadata


def _messages(metadata: sa.MetaData, name: Callable[[str], str]) -> None:
    sa.Table(
        name("outbox_message"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String(320), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("kind", sa.String(64)),
        sa.Column("category", sa.String(16)),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("envelope_from", sa.String(600), nullable=False),
        sa.Column("subject", sa.String(998), nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("skeleton", big_binary(), nullable=False),
        sa.Column("size", big_integer(), nullable=False),
        sa.Column("smtputf8", sa.Boolean, nullable=False),
        sa.Column("utf8_header", sa.JSON),
        sa.Column("options", sa.JSON),
        sa.Column("on_uncertain", sa.String(8), nullable=False),
        sa.Column("metadata", sa.JSON),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("redacted_at", UtcDateTime()),
        sa.UniqueConstraint("environment", "key", name="uq_outbox_message_environment_key"),
        sa.CheckConstraint("on_uncertain IN ('retry', 'hold')", name="ck_outbox_message_on_uncertain"),
        sa.Index("ix_outbox_message_message_id", "message_id"),
        **_REFERRED_TO,
    )
    sa.Table(
        name("outbox_blob"),
        metadata,
        sa.Column("digest", sa.CHAR(64), primary_key=True),
        sa.Column("size", big_integer(), nullable=False),
        sa.Column("data", big_binary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        **_OPTIONS,
    )
    sa.Table(
        name("outbox_message_blob"),
        metadata,
        sa.Column("message_id", big_integer(), _of(name("outbox_message")), primary_key=True),
        sa.Column("position", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("skeleton_offset", big_integer(), nullable=False),
        sa.Column("digest", sa.CHAR(64), sa.ForeignKey(f"{name('outbox_blob')}.digest"), nullable=False),
        sa.Index("ix_outbox_message_blob_digest", "digest"),
        **_OPTIONS,
    )


def _deliveries(metadata: sa.MetaData, name: Callable[[str], str]) -> None:
    sa.Table(
        name("outbox_delivery"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("message_id", big_integer(), _of(name("outbox_message")), nullable=False),
        sa.Column("batch_id", big_integer()),
        sa.Column("recipient", sa.String(600), nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("digest", Digest()),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("rescues", sa.SmallInteger, nullable=False),
        sa.Column("deferrals", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("token", big_integer()),
        sa.Column("worker_id", big_integer()),
        sa.Column("route", sa.String(255), nullable=False, server_default=sa.text("''")),
        sa.Column("transport", sa.String(64)),
        sa.Column("marked_at", UtcDateTime()),
        sa.Column("unsuppressed", sa.Boolean, nullable=False, server_default=No()),
        sa.Column("code", sa.SmallInteger),
        sa.Column("enhanced", sa.String(11)),
        sa.Column("reply", sa.String(1000)),
        sa.Column("reason", sa.String(32)),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'sent', 'failed', 'uncertain', 'cancelled')",
            name="ck_outbox_delivery_state",
        ),
        sa.CheckConstraint("(state IN ('queued', 'sending')) = (due_at IS NOT NULL)", name="ck_outbox_delivery_live"),
        sa.CheckConstraint("(state = 'sending') = (token IS NOT NULL)", name="ck_outbox_delivery_leased"),
        _index("ix_outbox_delivery_due", "lane", "due_at", "id", where="due_at IS NOT NULL"),
        sa.Index("ix_outbox_delivery_message", "message_id"),
        sa.Index("ix_outbox_delivery_state", "state", "id"),
        sa.Index("ix_outbox_delivery_recipient", "recipient", "id"),
        _index("ix_outbox_delivery_batch", "batch_id", "state", "id", where="batch_id IS NOT NULL"),
        _index("ix_outbox_delivery_digest", "digest", "id", where="finished_at IS NOT NULL"),
        _index("ix_outbox_delivery_finished", "finished_at", "state", where="finished_at IS NOT NULL"),
        **_REFERRED_TO,
    )
    sa.Table(
        name("outbox_attempt"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("delivery_id", big_integer(), _of(name("outbox_delivery")), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("worker_id", big_integer()),
        sa.Column("token", big_integer()),
        sa.Column("transport", sa.String(255)),
        sa.Column("phase", sa.String(10), nullable=False),
        sa.Column("verdict", sa.String(13), nullable=False),
        sa.Column("code", sa.SmallInteger),
        sa.Column("enhanced", sa.String(11)),
        sa.Column("reply", sa.String(1000), nullable=False),
        sa.Column("relay_id", sa.String(255)),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("fenced", sa.Boolean, nullable=False),
        sa.Column("about", sa.String(11)),
        sa.Column("note", sa.String(600)),
        sa.Index("ix_outbox_attempt_delivery", "delivery_id"),
        _index("ix_outbox_attempt_relay", "relay_id", where="relay_id IS NOT NULL"),
        **_OPTIONS,
    )


def _workers(metadata: sa.MetaData, name: Callable[[str], str]) -> None:
    sa.Table(
        name("outbox_worker"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("connections", sa.SmallInteger, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime()),
        sa.Column("dead_after", sa.Float),
        sa.Column("health", sa.JSON),
        sa.Column("asked", sa.String(8)),
        sa.Index("ix_outbox_worker_heartbeat", "heartbeat_at"),
        **_REFERRED_TO,
    )
    sa.Table(
        name("outbox_pause"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False, server_default="*"),
        sa.Column("transport", sa.String(255), nullable=False, server_default=sa.text("''")),
        sa.Column("automatic", sa.Boolean, nullable=False, server_default=No()),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("reply", sa.String(1000)),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime()),
        sa.Column("probe_at", UtcDateTime()),
        sa.Column("probe_seconds", sa.Float),
        sa.UniqueConstraint("what", "value", "environment", "transport", name="uq_outbox_pause_scope"),
        sa.CheckConstraint(
            "what IN ('all', 'kind', 'domain', 'transport', 'sender', 'message', 'batch')", name="ck_outbox_pause_what"
        ),
        **_OPTIONS,
    )
    sa.Table(
        name("outbox_audit"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("count", big_integer(), nullable=False),
        sa.Column("filters", sa.String(1000), nullable=False),
        sa.Column("note", sa.String(500)),
        sa.Column("delivery_ids", sa.String(1100)),
        **_OPTIONS,
    )


def _of(table: str) -> sa.ForeignKey:
    """The row goes with that of `table`."""
    return sa.ForeignKey(f"{table}.id", ondelete="CASCADE")


def _index(name: str, *columns: str, where: str) -> sa.Index:
    return sa.Index(name, *columns, **index_options(where))
