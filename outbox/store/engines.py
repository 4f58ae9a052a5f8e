"""How the engine of workers, commands and pages is made: after the application's own, with settings of ours.

It connects as the application does (its `connect_args`, `creator` and listeners), translates schemas as that does, and
runs its listeners. Pool, isolation and time limits are ours.
"""

from __future__ import annotations

import copy
import math
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, Pool, QueuePool

from outbox.core.progress import got_on
from outbox.store.databases import is_read_only, of
from outbox.store.deadline import Deadline, harden
from outbox.store.interruptible import gated

TIMEOUT_SECONDS = 30.0
"""How long a call to the database may take, unless told otherwise."""

CONNECT_SECONDS = 10
"""The longest that connecting to it may take."""

_TIMED = ("do_execute", "do_execute_no_params", "do_executemany", "do_commit", "do_rollback", "do_ping", "do_terminate")


def worker_engine(url: sa.URL | str, *, connections: int = 4, timeout: float = TIMEOUT_SECONDS) -> Engine:
    """An engine by a URL alone; see `engine_like`."""
    return engine_like(sa.create_engine(url), connections=connections, timeout=timeout)


def engine_like(source: Engine, *, connections: int = 4, timeout: float = TIMEOUT_SECONDS) -> Engine:
    """An engine that connects as `source` does: short transactions, dead connections noticed, mail kept out of errors.

    `connections`: how many threads use it at once. `timeout`: seconds that a call to the database may take.
    """
    database = of(source)
    deadline = None if database.in_process else Deadline(timeout)  # which waits for locks no longer than told
    dialect = _dialect_like(source.dialect, deadline)
    pool = _pool_like(source.pool, _creator(source, timeout, deadline), dialect, connections, timeout)
    _settle(source, pool, dialect)
    options = dict(source.get_execution_options())
    isolated = options.pop("isolation_level", None) is not None
    engine = Engine(pool, dialect, source.url, hide_parameters=True)
    _listen_as(source.dispatch, engine)
    engine.update_execution_options(**options)
    database.set_up(engine, isolated=isolated, timeout=timeout)
    if deadline is not None:
        _leave_read_only(engine)
        _end_connecting(engine, deadline)
    return engine


def close_with(owner: object, engine: Engine) -> Engine:
    """`engine`, whose idle connections are closed when `owner` is gone: tests make many applications in one process.

    Nothing here keeps `engine` alive: it may refer to `owner`, by a listener or a `creator` of the application's.
    """
    pid = os.getpid()  # after a fork they are the parent's
    idle: dict[int, Any] = {}  # as the driver made them, by id
    alive = weakref.ref(engine)

    def put(connection: Any, record: ConnectionPoolEntry) -> None:
        if connection is not None:
            idle[id(connection)] = connection

    def take(connection: Any, *_: Any) -> None:
        idle.pop(id(connection), None)

    def close() -> None:
        if os.getpid() != pid:
            return
        if (kept := alive()) is not None:  # by somebody else, who may still use it
            kept.dispose()
            return
        while idle:
            _, connection = idle.popitem()
            with suppress(Exception):  # it may be broken
                connection.close()

    event.listen(engine.pool, "checkin", put)
    for name in ("checkout", "close"):  # `close` after `invalidate`, too
        event.listen(engine.pool, name, take)
    weakref.finalize(owner, close).atexit = False  # that the database is hung must not hold up the end
    return engine


def with_own_pool(engine: Engine) -> Engine:
    """The like of `engine`, with a pool of its own that has no limit: for code whose threads may hang, and be ended.

    `engine` itself, where all share one connection.
    """
    if of(engine).is_in_memory(engine.url):
        return engine
    pool, dialect = engine.pool.recreate(), engine.dialect
    if isinstance(pool, QueuePool):
        pool._max_overflow = -1
    if of(engine).in_process:
        dialect = gated(copy.copy(dialect))
    own = Engine(pool, dialect, engine.url, hide_parameters=engine.hide_parameters)
    _listen_as(engine.dispatch, own)
    own.update_execution_options(**engine.get_execution_options())
    return own


def tell_progress(engine: Engine) -> None:
    """Have each statement tell that the thread which makes it gets on: see `progress`."""
    if not event.contains(engine, "before_cursor_execute", _executing):
        event.listen(engine, "before_cursor_execute", _executing)


def _executing(*_: Any) -> None:
    got_on()


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
    if not of(dialect).may_pool(source):
        return NullPool(creator, **common)
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
    whole, connecting = max(1, math.ceil(timeout)), max(2, math.ceil(min(timeout, CONNECT_SECONDS)))
    create, limits = source.pool._invoke_creator, of(source).connect_limits(source.driver, whole, connecting)
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
