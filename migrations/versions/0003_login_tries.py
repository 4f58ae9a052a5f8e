"""Tries to log in, for a limit of their rate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the database to this version."""
    op.create_table(
        "login_tries",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("who", sa.CHAR(64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_tries"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
    )
    op.create_index("ix_login_tries_who", "login_tries", ["who", "at"])
    op.create_index("ix_login_tries_at", "login_tries", ["at"])


def downgrade() -> None:
    """Take the database back to the version before."""
    op.drop_table("login_tries")
