"""What a worker's sessions have set on the database server.

On PostgreSQL a pooler may stand between, and what is set for a session there leaks to that of somebody else. Such a one
greets its clients with process numbers of its own making; so a connection is direct if the server names the same number
as the greeting did. On all others everything is set at the start of each transaction and for it alone, LISTEN is not
used, and nothing is prepared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry

from outbox.store.dialect import MYSQL_FAMILY

IDLE_TRANSACTION_SECONDS = 10
"""After this the server ends a worker's transaction in which nothing happens: that worker stands still, and its row
locks hold up the others."""

_DIRECT = "outbox_direct"

# on PostgreSQL, each value an SQL expression
_ALWAYS = {
    "idle_in_transaction_session_timeout": f"'{IDLE_TRANSACTION_SECONDS}s'",
    # a house may have it off: then a crash of the server takes back what was recorded, and the mail is sent again
    "synchronous_commit": "replace(current_setting('synchronous_commit'), 'off', 'on')",
}
_QUICK_PLANS = {
    # the statistics of a queue are always wrong: it was empty when they were taken, or full
    **{f"enable_{kind}": "'off'" for kind in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")},
    "plan_cache_mode": "'force_generic_plan'",  # planning a claim takes longer than it
    "jit": "'off'",  # and compiling it longer still
}


def set_at_connect(engine: Engine) -> None:
    """Have each connection of this engine set up for workers: once where it is direct, else at each transaction."""
    if engine.dialect.name in MYSQL_FAMILY:
        _set_on_mariadb(engine)
    elif engine.dialect.name == "postgresql":
        _set_on_postgresql(engine)


def is_direct(connection: Connection) -> bool:
    """Whether what is set for the session of this connection stays there. Asked of engines of `set_at_connect`."""
    return bool(connection.info.get(_DIRECT, True))


def steady_plans(connection: Connection, *, local: bool = False) -> None:
    """Have statements that must be quick use the indexes they were made for, whatever the statistics say.

    `local`: only in this transaction.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_set(_QUICK_PLANS, local=local))


def _set_on_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        direct = record.info[_DIRECT] = cursor.fetchone()[0] == _greeted_by(connection)
        if direct:
            cursor.execute(_set(_ALWAYS, local=False))
        elif hasattr(connection, "prepare_threshold"):
            connection.prepare_threshold = None  # what one server process has prepared, the next does not know
        cursor.close()
        connection.commit()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        if not is_direct(connection):
            connection.exec_driver_sql(_set(_ALWAYS, local=True))


def _set_on_mariadb(engine: Engine) -> None:
    # MySQL has no such setting; in the comment MariaDB alone sees it
    statement = f"SET @outbox_worker = 1 /*M!, SESSION idle_transaction_timeout = {IDLE_TRANSACTION_SECONDS} */"

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()


def _greeted_by(connection: Any) -> int | None:
    """The number of the server process as the greeting told it; None: the driver does not say."""
    info = getattr(connection, "info", None)  # psycopg, psycopg2
    return getattr(info, "backend_pid", None)


def _set(settings: Mapping[str, str], *, local: bool) -> str:
    scope = "true" if local else "false"
    return "SELECT " + ", ".join(f"set_config('{name}', {value}, {scope})" for name, value in settings.items())
