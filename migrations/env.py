"""Alembic's environment: DATABASE_URL from the application's settings; SQLite, PostgreSQL and MariaDB.

A caller in the same process may set `sqlalchemy.url` in the Config, or hand over a connection as
`config.attributes["connection"]`. It sets no logging up then.
"""

from __future__ import annotations

from logging.config import fileConfig

import sqlalchemy as sa
from alembic import context

import app.models
import outbox.models
from app.config import database_url, load
from app.db import make_engine

config = context.config
target_metadata = [app.models.Base.metadata, outbox.models.Base.metadata]

if config.config_file_name and config.cmd_opts:
    fileConfig(config.config_file_name, disable_existing_loggers=False)


def url() -> str:
    """Where to migrate."""
    return database_url(config.get_main_option("sqlalchemy.url") or load()["DATABASE_URL"])


def run_offline() -> None:
    """Print the SQL in place of running it (`--sql`)."""
    context.configure(url=url(), target_metadata=target_metadata, literal_binds=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Migrate."""
    connection = config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    engine = make_engine(url())
    try:
        with engine.connect() as connection:
            migrate(connection)
    finally:
        engine.dispose()


def migrate(connection: sa.Connection) -> None:
    """All or nothing where the database can (PostgreSQL, SQLite; MariaDB commits each table on its own)."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        # a table that is rebuilt is dropped on the way, which would delete what refers to it
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins none for DDL; also one migration at a time
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        render_as_batch=sqlite,
        compare_type=True,
        transactional_ddl=connection.dialect.name != "mysql" and connection.dialect.name != "mariadb",
    )
    with context.begin_transaction():
        context.run_migrations()
    if sqlite:
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")


if context.is_offline_mode():
    run_offline()
else:
    run_online()
