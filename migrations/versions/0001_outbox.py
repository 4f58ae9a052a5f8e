"""The outbox's tables."""

from __future__ import annotations

from alembic import op

from outbox import schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the database to this version."""
    schema.upgrade(op, version=1)


def downgrade() -> None:
    """Take the database back to the version before. All mail is lost."""
    schema.downgrade(op, version=0)
