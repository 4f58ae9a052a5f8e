"""The outbox's tables, made without Alembic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from outbox.core.errors import DatabaseError
from outbox.operations.connect import guarded, where
from outbox.store.dialect import MYSQL_FAMILY

LOCK_SECONDS = 20

_LOCK = 0x6F7574626F78  # "outbox"
_LOCK_NAME = "outbox-create-tables"


def create_tables(engine: sa.Engine) -> list[str]:
    """Create or complete them, and commit; what was missing. Raises DatabaseError, or SchemaError for newer tables.

    A SQLite file that is not there is made.
    """
    _make_file(engine)
    with guarded(engine):
        try:
            return _created(engine)
        except sa.exc.DBAPIError as error:
            words = " ".join(str(error.orig).split())
            raise DatabaseError(
                f"the database at {where(engine)} did not create the tables: {words}. Has its user the right to?"
            ) from error


def has_history(engine: sa.Engine) -> bool:
    """Whether Alembic keeps this database's history."""
    with guarded(engine), engine.connect() as connection:
        return sa.inspect(connection).has_table("alembic_version")


def _created(engine: sa.Engine) -> list[str]:
    from outbox.store import schema

    with engine.begin() as connection, _alone(connection):
        return schema.create(connection)


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """One process at a time: each container of a deployment may run this as it starts. SQLite has locked its file."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    elif dialect in MYSQL_FAMILY:  # which commits with each table
        connection.execute(sa.select(sa.func.get_lock(_LOCK_NAME, LOCK_SECONDS)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(_LOCK_NAME)))
        return
    yield


def _make_file(engine: sa.Engine) -> None:
    """SQLite's own would do, but it says nothing of a folder that is not there."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if not file or file == ":memory:" or file.startswith("file:") or Path(file).exists():
        return
    try:
        Path(file).touch(mode=0o600)
    except OSError as error:
        raise DatabaseError(f"the database at {where(engine)} can't be made: {error.strerror}. Is the path right?")
