"""Sessions that end on the server, and user names that were asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime, binary_string

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}


def upgrade() -> None:
    """Take the database to this version. Whoever is logged in has to log in again."""
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("key", sa.CHAR(64), nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("stamp", sa.String(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_sessions"),
        sa.UniqueConstraint("key", name="uq_login_sessions_key"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_login_sessions_user_id_users", ondelete="CASCADE"),
        **_OPTIONS,
    )
    op.create_index("ix_login_sessions_user_id", "login_sessions", ["user_id"])
    op.create_index("ix_login_sessions_created_at", "login_sessions", ["created_at"])
    op.create_table(
        "user_names",
        sa.Column("key", binary_string(64), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_user_names"),
        **_OPTIONS,
    )
    names, users = sa.table("user_names", sa.column("key")), sa.table("users", sa.column("username_key"))
    op.execute(sa.insert(names).from_select(["key"], sa.select(users.c.username_key)))


def downgrade() -> None:
    """Take the database back to the version before."""
    op.drop_table("user_names")
    op.drop_table("login_sessions")
