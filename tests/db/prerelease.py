"""The tables as they were before the first release, to be migrated from."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from outbox.store.types import UtcDateTime, big_binary, big_integer

_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mariadb", "mysql")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def create(op: Any) -> None:
    """All eight, by Alembic's operations."""
    op.create_table(
        "outbox_message",
        sa.Column("id", big_integer(), autoincrement=True, nullable=False),
        sa.Column("message_id", sa.String(320), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("kind", sa.String(64)),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("envelope_from", sa.String(320), nullable=False),
        sa.Column("subject", sa.String(998), nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("skeleton", big_binary(), nullable=False),
        sa.Column("size", big_integer(), nullable=False),
        sa.Column("smtputf8", sa.Boolean, nullable=False),
        sa.Column("options", sa.JSON),
        sa.Column("on_uncertain", sa.String(8), nullable=False),
        sa.Column("metadata", sa.JSON),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("redacted_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_message_key")),
        sa.CheckConstraint("on_uncertain IN ('retry', 'hold')", name=op.f("ck_outbox_message_on_uncertain")),
        **_OPTIONS,
    )
    op.create_index("ix_outbox_message_message_id", "outbox_message", ["message_id"])
    op.create_table(
        "outbox_blob",
        sa.Column("digest", sa.CHAR(64), nullable=False),
        sa.Column("size", big_integer(), nullable=False),
        sa.Column("data", big_binary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        **_OPTIONS,
    )
    op.create_table(
        "outbox_message_blob",
        sa.Column("message_id", big_integer(), sa.ForeignKey("outbox_message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("skeleton_offset", big_integer(), nullable=False),
        sa.Column("digest", sa.CHAR(64), sa.ForeignKey("outbox_blob.digest"), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "position"),
        **_OPTIONS,
    )
    op.create_index("ix_outbox_message_blob_digest", "outbox_message_blob", ["digest"])
    op.create_table(
        "outbox_delivery",
        sa.Column("id", big_integer(), autoincrement=True, nullable=False),
        sa.Column("message_id", big_integer(), sa.ForeignKey("outbox_message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("rescues", sa.SmallInteger, nullable=False),
        sa.Column("token", big_integer()),
        sa.Column("worker_id", big_integer()),
        sa.Column("marked_at", UtcDateTime()),
        sa.Column("code", sa.SmallInteger),
        sa.Column("enhanced", sa.String(11)),
        sa.Column("reply", sa.String(1000)),
        sa.Column("reason", sa.String(32)),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'sent', 'failed', 'uncertain', 'cancelled')",
            name=op.f("ck_outbox_delivery_state"),
        ),
        sa.CheckConstraint(
            "(state IN ('queued', 'sending')) = (due_at IS NOT NULL)", name=op.f("ck_outbox_delivery_live")
        ),
        sa.CheckConstraint("(state = 'sending') = (token IS NOT NULL)", name=op.f("ck_outbox_delivery_leased")),
        **_OPTIONS,
    )
    op.create_index(
        "ix_outbox_delivery_due",
        "outbox_delivery",
        ["lane", "due_at", "id"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_outbox_delivery_message", "outbox_delivery", ["message_id"])
    op.create_index("ix_outbox_delivery_state", "outbox_delivery", ["state", "id"])
    op.create_index("ix_outbox_delivery_recipient", "outbox_delivery", ["recipient", "id"])
    op.create_index(
        "ix_outbox_delivery_finished",
        "outbox_delivery",
        ["finished_at", "state"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_table(
        "outbox_attempt",
        sa.Column("id", big_integer(), autoincrement=True, nullable=False),
        sa.Column(
            "delivery_id", big_integer(), sa.ForeignKey("outbox_delivery.id", ondelete="CASCADE"), nullable=False
        ),
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
        sa.Column("note", sa.String(255)),
        sa.PrimaryKeyConstraint("id"),
        **_OPTIONS,
    )
    op.create_index("ix_outbox_attempt_delivery", "outbox_attempt", ["delivery_id"])
    op.create_table(
        "outbox_worker",
        sa.Column("id", big_integer(), autoincrement=True, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("connections", sa.SmallInteger, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime()),
        sa.Column("health", sa.JSON),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    op.create_index("ix_outbox_worker_heartbeat", "outbox_worker", ["heartbeat_at"])
    op.create_table(
        "outbox_pause",
        sa.Column("id", big_integer(), autoincrement=True, nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("what", "value", name=op.f("uq_outbox_pause_value")),
        sa.CheckConstraint("what IN ('all', 'kind', 'domain', 'transport')", name=op.f("ck_outbox_pause_what")),
        **_OPTIONS,
    )
    op.create_table(
        "outbox_audit",
        sa.Column("id", big_integer(), autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("count", big_integer(), nullable=False),
        sa.Column("filters", sa.String(1000), nullable=False),
        sa.Column("note", sa.String(500)),
        sa.Column("delivery_ids", sa.String(1100)),
        sa.PrimaryKeyConstraint("id"),
        **_OPTIONS,
    )
