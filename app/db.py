"""The database: one engine for an application, one session for each application context (a request, a command)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app, g
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from werkzeug.local import LocalProxy

BUSY_MILLISECONDS = 30_000


@dataclass(frozen=True, slots=True)
class Database:
    """What `app.extensions["database"]` holds."""

    engine: Engine
    sessions: sessionmaker[Session]


def init_app(app: Flask) -> None:
    """Bind `app` to the database that its DATABASE_URL names. Nothing is connected yet."""
    engine = make_engine(app.config["DATABASE_URL"])
    app.extensions["database"] = Database(engine, sessionmaker(engine))
    app.teardown_appcontext(_close_session)


def make_engine(url: str | sa.URL) -> Engine:
    """An engine whose errors do not show parameters: those of mail are personal."""
    url = sa.make_url(url)
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, pool_recycle=1800)
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # IMMEDIATE: a transaction takes the write lock with its first write, and waits for it. A deferred one that has
    # read fails at once with "database is locked" when another process has committed in between.
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"isolation_level": "IMMEDIATE"})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "savepoint", _begin_before_savepoint)
    return engine


def get_session() -> Session:
    """The session of the current application context, made when first asked for."""
    if "session" not in g:
        g.session = current_app.extensions["database"].sessions()
    session: Session = g.session
    return session


session: Session = LocalProxy(get_session)  # type: ignore[assignment]


def _close_session(error: BaseException | None) -> None:
    opened: Session | None = g.pop("session", None)
    if opened is not None:
        opened.close()


def _configure_sqlite(connection: Any, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_before_savepoint(connection: Connection, name: str) -> None:
    # The driver begins a transaction before INSERT, UPDATE and DELETE only; a SAVEPOINT outside of one would commit
    # at its RELEASE.
    if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware datetimes in UTC, with microseconds on every database."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def binary_string(length: int) -> sa.types.TypeEngine[str]:
    """A string compared byte by byte; MariaDB's default collation ignores case and accents."""
    return sa.String(length).with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
