"""A connection for an operator's question; what may be wrong with the database told as the package's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.core.errors import DatabaseError, SchemaError
from outbox.store.databases import driver, of
from outbox.store.reading import reading
from outbox.store.types import DbNow

TESTED_DRIVERS = (
    "postgresql+psycopg, postgresql+psycopg2, postgresql+pg8000, mysql+pymysql, mariadb+pymysql, mysql+mysqlconnector, "
    "mariadb+mysqlconnector, sqlite"
)


_NO_RIGHTS = ("permission denied", "command denied", "access denied for user")
"""How databases say that a user may not."""


@contextmanager
def connected(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to look with. Raises DatabaseError, or SchemaError where the database is not migrated."""
    with guarded(engine), reading(engine) as connection:
        yield connection


def now(connection: sa.Connection) -> datetime:
    """By the database's clock, the one for all."""
    return connection.execute(sa.select(DbNow())).scalar_one()


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to change with; committed at the end. Raises DatabaseError or SchemaError."""
    with guarded(engine), engine.begin() as connection:
        yield connection


@contextmanager
def session(engine: sa.Engine) -> Iterator[Session]:
    """A session whose transaction is committed at the end. Raises DatabaseError or SchemaError."""
    with guarded(engine), Session(engine) as made, made.begin():
        yield made


@contextmanager
def guarded(engine: sa.Engine) -> Iterator[None]:
    """Turns what the database raises in the block into DatabaseError, or SchemaError where it lacks tables."""
    _must_exist(engine)
    if engine.dialect.is_async:
        raise DatabaseError(
            f"{driver(engine)} is an asynchronous driver, which the outbox can't use: give its "
            f"database in OUTBOX_DATABASE_URL by one of {TESTED_DRIVERS}"
        )
    try:
        yield
    except sa.exc.DBAPIError as error:
        lacking = _missing_if_it_answers(engine)
        if lacking:
            raise SchemaError(unmigrated(lacking)) from error
        raise DatabaseError(f"database error at {where(engine)}: {words(error)}") from error
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError(f"database error at {where(engine)}: {error}") from error


def where(engine: sa.Engine) -> str:
    """The database's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def server(engine: sa.Engine) -> str:
    """What answers at the address: "PostgreSQL 15.4". Raises DatabaseError."""
    with guarded(engine), reading(engine) as connection:
        return of(connection).described(connection.dialect)


def missing(engine: sa.Engine) -> list[str]:
    """What the database lacks of its tables, `unmigrated` tells it.

    Raises DatabaseError, or SchemaError where a newer release has migrated it.
    """
    from outbox.store import schema  # it brings Alembic, which a web process has no use for

    with guarded(engine), reading(engine) as connection:
        return schema.missing(connection)


def check_schema(engine: sa.Engine) -> None:
    """Raises SchemaError where the database has no tables of the outbox, or those of a release that is not ours."""
    with guarded(engine), reading(engine) as connection:
        _check_version(connection)


def outdated(engine: sa.Engine) -> str | None:
    """Why this release must not go on with the tables that it once checked: they were migrated meanwhile.

    None: it may. Raises SQLAlchemyError where the database does not say.
    """
    try:
        with reading(engine) as connection:
            _check_version(connection)
    except SchemaError as error:
        return str(error)
    return None


def _check_version(connection: sa.Connection) -> None:
    from outbox.store import schema

    version = schema.check_version(connection)
    if version is not None and version < schema.LATEST:
        raise SchemaError(f"The outbox's tables have version {version}, too old for this release. {schema.REMEDY}")


def unmigrated(lacking: list[str], *, flask_migrate: bool = False) -> str:
    """That the database lacks these, and the command that fixes it, or with Flask-Migrate the migration."""
    from outbox.store import schema

    lost = all(" of outbox_" in words for words in lacking)  # of tables that are there: an index, a constraint
    remedy = schema.FLASK_MIGRATE_REMEDY if flask_migrate else schema.REMEDY
    return f"the database lacks {_few(lacking)}. {schema.REPAIR if lost else remedy}"


def _must_exist(engine: sa.Engine) -> None:
    """SQLite would make an empty file of a mistaken path, and then say that it is not migrated."""
    file = of(engine).file(engine.url)
    if file is not None and not Path(file).exists():
        from outbox.store import schema

        raise DatabaseError(f"there is no database at {where(engine)}: is the path right? If so: {schema.REMEDY}")


def _missing_if_it_answers(engine: sa.Engine) -> list[str]:
    from outbox.store import schema

    try:
        with reading(engine) as connection:
            return schema.missing(connection)
    except sa.exc.SQLAlchemyError:
        return []  # it is down: that is the error to tell


def words(error: sa.exc.DBAPIError) -> str:
    """What the driver said, in one line, and what to do where that is known."""
    said = _said(error).rstrip()
    said = said if said.endswith((".", "?", "!")) else f"{said}."
    return f"{said} {remedy}" if (remedy := _remedy(error, said.lower())) else said


def _remedy(error: sa.exc.DBAPIError, said: str) -> str:
    if "readonly database" in said:
        return "Give this process the right to write the file and its folder."
    if any(words in said for words in _NO_RIGHTS):
        return "Give its user the right to use the tables whose names begin with outbox_."
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and "connect" in said:
        return "Check that the database runs, and that its address and password are right."
    return ""


def _said(error: sa.exc.DBAPIError) -> str:
    """Neither the statement nor its parameters."""
    told: tuple[Any, ...] = getattr(error.orig, "args", ())
    if len(told) == 2 and isinstance(told[0], int) and isinstance(told[1], str):  # MySQL's drivers: (1045, "Access …")
        return f"{' '.join(told[1].split())} (error {told[0]})"
    lines = [" ".join(line.split()) for line in str(error.orig).splitlines()]
    return "".join(_with_space(line) for line in lines if line).strip() or type(error.orig).__name__


def _with_space(line: str) -> str:
    """A line that another may follow: libpq breaks between its sentences, and leaves the full stop out."""
    return f"{line} " if line.endswith((".", "?", "!", ":", ",", ";")) else f"{line}. "


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
