"""Of version 1, the tables of events, suppressions and effects: like it, they never change."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from outbox.store.databases import HASHED, table_options
from outbox.store.types import Digest, No, UtcDateTime, big_integer, short_integer

_REFERRED_TO = table_options(ids_once=True)


def add_events(metadata: sa.MetaData, name: Callable[[str], str]) -> None:
    """Add them to `metadata`."""
    sa.Table(
        name("outbox_event"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("delivery_id", big_integer()),
        sa.Column("message_pk", big_integer()),
        sa.Column("recipient", sa.String(600)),
        sa.Column("digest", Digest()),
        sa.Column("proven", sa.Boolean, nullable=False, server_default=No()),
        sa.Column("tied", sa.String(10)),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("code", sa.SmallInteger),
        sa.Column("enhanced", sa.String(11)),
        sa.Column("soft", sa.Boolean, nullable=False, server_default=No()),
        sa.Column("reply", sa.String(1000)),
        sa.Column("category", sa.String(80)),
        sa.CheckConstraint(
            "type IN ('delivered', 'deferred', 'bounced', 'complained', 'unsubscribed', 'autoresponded', 'opened', "
            "'clicked', 'delayed', 'unknown')",
            name="ck_outbox_event_type",
        ),
        sa.UniqueConstraint("source", "event_id", name="uq_outbox_event_source"),
        sa.Index("ix_outbox_event_delivery", "delivery_id"),
        sa.Index("ix_outbox_event_type", "type", "delivery_id"),
        sa.Index("ix_outbox_event_message", "message_pk"),
        sa.Index("ix_outbox_event_digest", "digest", "recorded_at"),
        sa.Index("ix_outbox_event_recorded", "recorded_at"),
        **_REFERRED_TO,
    )
    sa.Table(
        name("outbox_suppression"),
        metadata,
        sa.Column("id", short_integer(), primary_key=True, autoincrement=True),
        sa.Column("digest", Digest(), nullable=False),
        sa.Column("scope", sa.String(80), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("address", sa.String(600)),
        sa.Column("event_id", big_integer()),
        sa.Column("note", sa.String(500)),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime()),
        sa.CheckConstraint(
            "reason IN ('bounced', 'complained', 'unsubscribed', 'manual')", name="ck_outbox_suppression_reason"
        ),
        sa.UniqueConstraint("scope", "reason", "digest", name="uq_outbox_suppression_scope"),
        sa.Index("ix_outbox_suppression_digest", "digest", **HASHED),
        sa.Index("ix_outbox_suppression_address", "address"),
        sa.Index("ix_outbox_suppression_until", "until"),
        **_REFERRED_TO,
    )
    sa.Table(
        name("outbox_effect"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("effect_key", sa.String(64), nullable=False),
        sa.Column("delivery_id", big_integer()),
        sa.Column("token", big_integer()),
        sa.Column("event_id", big_integer()),
        sa.Column("batch_id", big_integer()),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.String(500)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("name", "effect_key", name="uq_outbox_effect_key"),
        sa.Index("ix_outbox_effect_due", "name", "environment", "due_at"),
        **_REFERRED_TO,
    )
