"""Of version 1, the tables of batches and digests: like it, they never change."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from outbox.store.databases import table_options
from outbox.store.types import Digest, UtcDateTime, big_integer

_REFERRED_TO = table_options(ids_once=True)


def add_batches(metadata: sa.MetaData, name: Callable[[str], str]) -> None:
    """Add them to `metadata`."""
    sa.Table(
        name("outbox_batch"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(64)),
        sa.Column("state", sa.String(10), nullable=False),
        *(
            sa.Column(number, big_integer(), nullable=False, server_default="0")
            for number in ("messages", "deliveries", "refused")
        ),
        sa.Column("expected", big_integer()),
        sa.Column("counts", sa.JSON),
        sa.Column("counted_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("filled_at", UtcDateTime()),
        sa.Column("done_at", UtcDateTime()),
        sa.Column("canary", sa.String(8)),
        *(sa.Column(part, sa.Float) for part in ("canary_share", "canary_limit", "canary_wait")),
        *(sa.Column(part, big_integer()) for part in ("canary_size", "canary_to")),
        sa.UniqueConstraint("environment", "name", name="uq_outbox_batch_name"),
        sa.CheckConstraint("state IN ('filling', 'filled', 'cancelled')", name="ck_outbox_batch_state"),
        sa.CheckConstraint(
            "canary IS NULL OR canary IN ('running', 'failed', 'passed', 'released')", name="ck_outbox_batch_canary"
        ),
        **_REFERRED_TO,
    )
    sa.Table(
        name("outbox_digest_item"),
        metadata,
        sa.Column("id", big_integer(), primary_key=True, autoincrement=True),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("recipient", sa.String(600), nullable=False),
        sa.Column("digest", Digest(), nullable=False),
        sa.Column("item", sa.JSON, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.String(500)),
        sa.Index("ix_outbox_digest_item_due", "name", "environment", "due_at"),
        sa.Index("ix_outbox_digest_item_digest", "digest", "name", "environment"),
        **_REFERRED_TO,
    )
