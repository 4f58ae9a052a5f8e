"""A time limit, kept in the client, for calls to a database server.

A server process that is frozen, or a proxy that swallows what it is sent, leaves the connection as it is: no limit of
the server's helps, and the system sees nothing wrong. So a thread looks after the calls, and shuts the socket of one
that takes too long; the call then fails as it does when the server has gone.

Known limit: a connection whose driver shows no socket can't be ended.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from outbox.core.clock import monotonic
from outbox.core.events import logger
from outbox.core.forks import after_fork
from outbox.store.interruptible import end

_LOOK_SECONDS = 0.5  # how late a call may be noticed
_Result = TypeVar("_Result")


class Deadline:
    """Ends calls that take longer than `seconds`. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def timed(self, call: Callable[..., _Result]) -> Callable[..., _Result]:
        """`call` with the limit; its first argument is a cursor, a connection, or SQLAlchemy's proxy of one."""
        seconds, calls = self._seconds, _CALLS

        def run(subject: Any, *arguments: Any, **options: Any) -> _Result:
            thread = threading.get_ident()
            calls[thread] = (monotonic() + seconds, subject)
            if _WATCH.asleep:
                _WATCH.wake()
            try:
                return call(subject, *arguments, **options)
            finally:
                calls.pop(thread, None)

        return run

    def begin(self, connection: Any) -> None:
        """From here to `end`, on the same thread, is one call on `connection`."""
        _CALLS[threading.get_ident()] = (monotonic() + self._seconds, connection)
        if _WATCH.asleep:
            _WATCH.wake()

    def end(self) -> None:
        """See `begin`."""
        _CALLS.pop(threading.get_ident(), None)


_CALLS: dict[int, tuple[float, Any]] = {}
"""By thread: when the call that is under way must have ended, and its connection or cursor."""


class _Watch:
    """The thread that looks after the calls; it sleeps while there is none."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._started = False
        self.asleep = True

    def wake(self) -> None:
        self._wake.set()
        if not self._started:
            with self._starting:
                if not self._started:
                    self._started = True
                    threading.Thread(target=self._run, name="outbox-database-deadline", daemon=True).start()

    def _run(self) -> None:
        told: dict[int, tuple[float, Any]] = {}
        while True:
            if not _CALLS:
                self._wake.clear()
                self.asleep = True
                if not _CALLS:  # one that began meanwhile has seen `asleep`, or is seen here
                    self._wake.wait()
                self.asleep = False
            threading.Event().wait(_LOOK_SECONDS)
            now = monotonic()
            late = {thread: call for thread, call in _CALLS.copy().items() if call[0] < now}
            for thread, call in late.items():
                if _CALLS.get(thread) is call:
                    _shut(call[1])
                    if told.get(thread) is not call:
                        logger.error("the database did not answer in time: its connection is closed")
            told = late


_WATCH = _Watch()


def _after_fork() -> None:
    global _WATCH
    _CALLS.clear()
    _WATCH = _Watch()


after_fork(_after_fork)


def _shut(subject: Any) -> None:
    with suppress(Exception):  # whatever a driver says of a connection that has ended meanwhile
        connection = getattr(subject, "dbapi_connection", None) or getattr(subject, "connection", None)
        connection = connection or getattr(subject, "_connection", None) or subject  # MySQL Connector's cursor
        descriptor = _descriptor(connection)
        with socket.socket(fileno=os.dup(descriptor)) as double:
            double.shutdown(socket.SHUT_RDWR)


def cut(connection: Any) -> None:
    """End a driver's connection from another thread: nothing that is open on it is committed any more."""
    if hasattr(connection, "interrupt"):  # SQLite's
        end(connection)
    else:
        _shut(connection)


def harden(connection: Any) -> None:
    """Have the system notice within half a minute that the other machine has gone, on an idle connection, too."""
    with suppress(Exception), socket.socket(fileno=os.dup(_descriptor(connection))) as double:
        double.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("KEEPIDLE", 10), ("KEEPINTVL", 5), ("KEEPCNT", 3), ("USER_TIMEOUT", 20_000)):
            if (option := getattr(socket, f"TCP_{name}", None)) is not None:
                double.setsockopt(socket.IPPROTO_TCP, option, value)


def _descriptor(connection: Any) -> int:
    if hasattr(connection, "fileno"):  # psycopg, psycopg2, mysqlclient
        return int(connection.fileno())
    inner = getattr(connection, "_sock", None)  # PyMySQL
    if inner is None:
        inner = connection._socket  # MySQL Connector
        inner = getattr(inner, "sock", None) or inner._socket
    return int(inner.fileno())
