"""The databases that mail is kept in: one file for each, behind the questions of `base.Database`.

A new one is a file beside them, and a line here. No other module asks for a database's name.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine

from outbox.store.databases.base import Database
from outbox.store.databases.mysql import MySQL
from outbox.store.databases.postgresql import PostgreSQL
from outbox.store.databases.sqlite import SQLite

__all__ = ["HASHED", "KNOWN", "Database", "driver", "index_options", "is_read_only", "of", "of_url", "table_options"]

KNOWN: tuple[Database, ...] = (
    SQLite(),
    PostgreSQL(),
    MySQL(),
)

_BY_NAME = {name: database for database in KNOWN for name in database.names}
_OTHER = Database()  # the application may have a session on one: what is asked of that is answered with care


def of(bind: Engine | Connection | Dialect) -> Database:
    """The database behind an engine, a connection or a dialect."""
    asked: Any = bind
    dialect = getattr(asked, "dialect", asked)  # several times for each message, and `isinstance` costs more
    return _BY_NAME.get(dialect.name, _OTHER)


def of_url(url: sa.URL) -> Database:
    """The database that an address leads to."""
    return _BY_NAME.get(url.get_backend_name(), _OTHER)


def driver(engine: Engine) -> str:
    """The database and its driver as an address begins: "postgresql+psycopg"."""
    return f"{engine.dialect.name}+{engine.driver}"


def table_options(*, ids_once: bool = False) -> dict[str, Any]:
    """The options of a table on all databases; `ids_once`: the id of a row that was deleted is given to no other."""
    options: dict[str, Any] = {}
    for database in KNOWN:
        options |= {**database.table_options, **(database.ids_once if ids_once else {})}
    return options


def index_options(where: str) -> dict[str, Any]:
    """The options of an index that holds only the rows for which `where` is true, where a database can do so."""
    names = (name for database in KNOWN if database.partial_indexes for name in database.names)
    return {f"{name}_where": sa.text(where) for name in names}


HASHED: dict[str, Any] = {"postgresql_using": "hash", "mysql_length": 4, "mariadb_length": 4}
"""The options of an index that looks digests up, in no order: small, since each is on a page of its own.

A hash where there is one: one page for each, where a tree has several. Else their first 32 bits: the row
itself is read for what begins alike.
"""


def is_read_only(error: sa.exc.StatementError) -> bool:
    """Whether it says that nothing can be written; by any of the databases, since the caller may have no connection."""
    said: Any = error.orig
    codes = (getattr(said, "sqlstate", None), getattr(said, "pgcode", None), getattr(said, "errno", None))
    given = {*codes, *getattr(said, "args", ())[:1]} - {None}
    return any(given & database.read_only_codes for database in KNOWN) or any(
        words in str(said) for words in ("readonly database", "read-only transaction")
    )
