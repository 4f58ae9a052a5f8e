"""The outbox's tables of before its first release become version 1: keys are unique within an environment."""

from __future__ import annotations

from alembic import op

from outbox import schema

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the database to this version. Nothing is to be done where 0001 has made these tables already."""
    schema.upgrade(op, version=1)


def downgrade() -> None:
    """Take the database back to the version before, which works with these tables as well: they stay."""
