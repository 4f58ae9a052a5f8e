"""Per-thread pinned connections; checking one out of the pool for every commit is slower."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.core.clock import monotonic
from outbox.core.events import logger
from outbox.core.progress import got_on
from outbox.core.sync import Flag
from outbox.store.databases import of
from outbox.store.databases.news import Listener
from outbox.store.failures import OUTAGES

TRUSTED_SECONDS = 1.0
"""A connection that was still for longer is asked before it is used: what is between may have forgotten it."""

LOST_SECONDS = 0.1
"""The pause after a connection was lost while it listened."""


class Connections:
    """Connections to one database. Where it writes in queries, each of their statements is its own transaction.

    Through a pooler all that is done in one `use` is one, which begins with the settings that a session has elsewhere.
    """

    def __init__(self, engine: Engine, *, listening: bool = False) -> None:
        """`listening`: those that are kept tell of commits."""
        self._engine = engine
        self._database = database = of(engine)
        self._listening = listening and database.can_listen(engine)
        self._autocommit = database.writes_in_queries
        self._own = threading.local()
        self._turn: AbstractContextManager[Any] = _turns(engine) if database.one_writer else nullcontext()

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Within it the calling thread keeps its connection."""
        pinned = self._own.pinned = _Pinned(self._open)
        try:
            yield
        finally:
            del self._own.pinned
            pinned.drop()

    @contextmanager
    def use(self) -> Iterator[sa.Connection]:
        """The thread's own connection, or one of the pool's. Raises what connecting raises."""
        pinned: _Pinned | None = getattr(self._own, "pinned", None)
        with self._turn:
            got_on()
            if pinned is None:
                with self._engine.connect() as connection, self._prepared(connection):
                    yield connection
                return
            try:
                connection = pinned.take()
                with self._prepared(connection, pinned=True):
                    yield connection
            except BaseException:  # what state it is in is not known
                pinned.drop()
                raise

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """The same; all that is done within it is one transaction."""
        with self.use() as connection:
            if self._autocommit and self._database.is_direct(connection):
                connection.exec_driver_sql("BEGIN")
                yield connection
                connection.exec_driver_sql("COMMIT")  # after an exception the connection is not used again
            elif self._autocommit:
                yield connection
            else:
                with connection.begin():
                    yield connection

    def wait(self, flag: Flag, timeout: float) -> None:
        """Until `flag` is set, a commit was told of since the last call, or for `timeout` seconds.

        What comes while nobody waits is not missed, as long as the calling thread keeps its connection.
        """
        pinned: _Pinned | None = getattr(self._own, "pinned", None)
        listener = None if pinned is None else pinned.listener
        if pinned is None or listener is None:
            flag.wait(timeout)
        else:
            if not pinned.heard(listener) and pinned.listener is not None:
                flag.wait(timeout, listener.fileno())
                pinned.heard(listener)  # the waiting thread will look at the queue now
            if pinned.listener is None:  # the next statement opens another, but not immediately, again and again
                flag.wait(min(timeout, LOST_SECONDS))

    def _open(self) -> tuple[sa.Connection, Listener | None]:
        connection = self._engine.connect()
        try:
            listener = None
            if self._database.is_direct(connection):
                if self._autocommit:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                self._database.steady_plans(connection)
                listener = self._listener(connection) if self._listening else None
            elif self._listening:
                self._listening = False
                logger.warning(
                    "a pooler is between us and the database, which can't pass on NOTIFY: polling continues. "
                    "OUTBOX_LISTEN_URL can name the database itself"
                )
            connection.detach()  # it is never given back: the pool is for short-lived use
        except BaseException:
            connection.close()
            raise
        return connection, listener

    def _listener(self, connection: sa.Connection) -> Listener | None:
        try:
            return self._database.listener(connection)
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            self._listening = False
            logger.warning("the database does not let us listen, polling continues: %s", str(error.orig).strip())
            return None

    @contextmanager
    def _prepared(self, connection: sa.Connection, *, pinned: bool = False) -> Iterator[None]:
        if not self._autocommit:
            yield
        elif self._database.is_direct(connection):
            if not pinned:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            yield
        else:
            with connection.begin():
                if pinned:
                    self._database.steady_plans(connection, local=True)
                yield


_TURNS: WeakKeyDictionary[Engine, threading.Lock] = WeakKeyDictionary()


def _turns(engine: Engine) -> threading.Lock:
    """SQLite has one write lock, and who finds it taken looks again only after a pause that grows to 100 ms. Among the
    threads of this process a lock that wakes who waits is much quicker."""
    return _TURNS.setdefault(engine, threading.Lock())


class _Pinned:
    def __init__(self, connect: Callable[[], tuple[sa.Connection, Listener | None]]) -> None:
        self._connect = connect
        self._connection: sa.Connection | None = None
        self.listener: Listener | None = None
        self._used_at = 0.0

    def take(self) -> sa.Connection:
        now = monotonic()
        if self._connection is not None and of(self._connection).is_replaced(self._connection.info):
            self.drop()
        if self._connection is not None and now - self._used_at > TRUSTED_SECONDS and not _answers(self._connection):
            self.drop()
        if self._connection is None:
            self._connection, self.listener = self._connect()
        self._used_at = now
        return self._connection

    def heard(self, listener: Listener) -> bool:
        """Whether there was news; a connection that is lost is dropped."""
        try:
            heard = listener.heard()
        except Exception as error:  # noqa: BLE001 - whatever the driver says of a connection that is no more
            logger.warning("the connection that claims and listens is lost: %s", type(error).__name__)
            self.drop()
            return False
        if heard:
            self._used_at = monotonic()  # it has just spoken
        return heard

    def drop(self) -> None:
        """Close it without a ROLLBACK first, which would fail, and be logged, where the server has ended it."""
        connection, self._connection, self.listener = self._connection, None, None
        if connection is None:
            return
        if not connection.invalidated:
            driver: Any = connection.connection.dbapi_connection
            with suppress(Exception):
                driver.close()
            connection.invalidate()
        connection.close()


def _answers(connection: sa.Connection) -> bool:
    try:
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()
    except OUTAGES:
        return False
    return True
