"""How the engine of workers, commands and pages is made: after the application's own, with settings of ours.

It connects as the application does (its `connect_args`, `creator` and listeners), translates schemas as that does, and
runs its listeners. Pool, isolation and time limits are ours.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, Pool, QueuePool, SingletonThreadPool

from outbox.store.autocommit import is_read_only
from outbox.store.deadline import Deadline, harden
from outbox.store.dialect import MYSQL_FAMILY, configure_sqlite
from outbox.store.server_settings import set_at_connect
from outbox.store.sqlite_file import notice_replaced

TIMEOUT_SECONDS = 30.0
"""How long a call to the database may take, unless told otherwise."""

CONNECT_SECONDS = 10
"""How long connecting to it may take at the most."""

_ISOLATION: Literal["READ COMMITTED"] = "READ COMMITTED"
"""At MariaDB's REPEATABLE READ an open claim blocks the application's inserts, and two claims of an empty queue
deadlock; at SERIALIZABLE claims fail beside each other; with AUTOCOMMIT there are no transactions."""

_TIMED = ("do_execute", "do_execute_no_params", "do_executemany", "do_commit", "do_rollback", "do_ping", "do_terminate")


def worker_engine(url: sa.URL | str, *, connections: int = 4, timeout: float = TIMEOUT_SECONDS) -> Engine:
    """An engine by a URL alone; see `engine_like`."""
    return engine_like(sa.create_engine(url), connections=connections, timeout=timeout)


def engine_like(source: Engine, *, connections: int = 4, timeout: float = TIMEOUT_SECONDS) -> Engine:
    """An engine that connects as `source` does: short transactions, dead connections noticed, mail kept out of errors.

    `connections`: how many threads use it at once. `timeout`: seconds that a call to the database may take.
    """
    sqlite = source.dialect.name == "sqlite"
    deadline = None if sqlite else Deadline(timeout)  # SQLite has no server, and waits for locks no longer than told
    dialect = _dialect_like(source.dialect, deadline)
    pool = _pool_like(source.pool, _creator(source, timeout, deadline), dialect, connections, timeout)
    _settle(source, pool, dialect)
    options = {name: value for name, value in source.get_execution_options().items() if name != "isolation_level"}
    engine = Engine(pool, dialect, source.url, hide_parameters=True)
    _listen_as(source.dispatch, engine)
    engine.update_execution_options(**options)
    if sqlite:
        configure_sqlite(engine, immediate=True, busy=timeout)
        notice_replaced(engine)
    elif source.dialect.name in MYSQL_FAMILY and "isolation_level" not in source.get_execution_options():
        _isolate_once(engine)  # an execution option would cost two round trips for each transaction
    else:
        engine.update_execution_options(isolation_level=_ISOLATION)
    if not sqlite:
        set_at_connect(engine)
        _leave_read_only(engine)
    if deadline is not None:
        _end_connecting(engine, deadline)
    return engine


def _dialect_like(source: Dialect, deadline: Deadline | None) -> Dialect:
    """The same dialect for our engine alone, its calls timed; both hear of each other's errors."""
    _ = source.dispatch  # made when first asked for, and to be the same for both
    own = copy.copy(source)
    if deadline is not None:
        for name in _TIMED:
            if hasattr(own, name):
                setattr(own, name, deadline.timed(getattr(own, name)))
    return own


def _listen_as(dispatch: Any, engine: Engine) -> None:
    """Attach to `engine` what `dispatch` calls, before listeners of our own: those are to have the last word."""
    if hasattr(dispatch, "parent"):  # of what `Engine.execution_options` returns
        _listen_as(dispatch.parent, engine)
        dispatch = dispatch.local
    engine.dispatch._update(dispatch, only_propagate=False)
    engine._has_events = True


def _settle(source: Engine, pool: Pool, own: Dialect) -> None:
    """Have our dialect know what `source`'s finds out of the server at the first connection that either makes."""
    settled = threading.Event()

    @event.listens_for(pool, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        if not settled.is_set():  # by now `source` has asked, in a listener before this one
            kept = {name: own.__dict__[name] for name in _TIMED if name in own.__dict__}
            own.__dict__.update(source.dialect.__dict__ | kept)
            settled.set()


def _pool_like(source: Pool, creator: Callable[..., Any], dialect: Dialect, connections: int, timeout: float) -> Pool:
    reset: Any = source._reset_on_return  # see `Pool`: a house may reset connections by a listener of its own
    common: dict[str, Any] = {"dialect": dialect, "_dispatch": source.dispatch, "reset_on_return": reset}
    if dialect.name == "sqlite" and isinstance(source, NullPool | SingletonThreadPool):
        return NullPool(creator, **common)  # its connections may be such that only one thread can use each
    return QueuePool(
        creator,
        pool_size=connections,
        max_overflow=2,
        pre_ping=True,
        recycle=1800,
        timeout=timeout,
        **common,
    )


def _creator(source: Engine, timeout: float, deadline: Deadline | None) -> Callable[..., Any]:
    create, limits = source.pool._invoke_creator, _connect_limits(source.driver, timeout)
    opening = threading.local()  # `limits`: this thread is opening a connection for us, with these

    @event.listens_for(source, "do_connect", insert=True)
    def limited(dialect: Dialect, record: Any, arguments: Any, options: dict[str, Any]) -> None:
        for name, value in getattr(opening, "limits", {}).items():
            options.setdefault(name, value)

    def creator(record: ConnectionPoolEntry) -> Any:
        opening.limits = limits
        try:
            connection = create(record)
        finally:
            opening.limits = {}
        if deadline is not None:
            harden(connection)
            deadline.begin(connection)  # listeners will ask the server this and that
        return connection

    return creator


def _end_connecting(engine: Engine, deadline: Deadline) -> None:
    @event.listens_for(engine, "connect")  # the last of them
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        deadline.end()


def _leave_read_only(engine: Engine) -> None:
    """Give up connections to a server that was primary, stayed up and takes no writes: new ones find its successor."""

    @event.listens_for(engine, "handle_error")
    def failed(context: sa.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if context.engine is engine and isinstance(error, sa.exc.StatementError) and is_read_only(error):
            context.is_disconnect = True


def _isolate_once(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        engine.dialect.set_isolation_level(connection, _ISOLATION)


def _connect_limits(driver: str, timeout: float) -> dict[str, Any]:
    """Time limits for connecting, and for silence where the driver knows such."""
    whole, connecting = max(1, math.ceil(timeout)), max(2, math.ceil(min(timeout, CONNECT_SECONDS)))
    return {
        "psycopg": {"connect_timeout": connecting},
        "psycopg2": {"connect_timeout": connecting},
        "pymysql": {"connect_timeout": connecting, "read_timeout": whole, "write_timeout": whole},
        "mysqldb": {"connect_timeout": connecting, "read_timeout": whole, "write_timeout": whole},
        "mysqlconnector": {"connection_timeout": connecting},
    }.get(driver, {})
