"""Work on an embedded database that another thread may end: there is no socket to shut, as `deadline` does.

SQLite's driver breaks the process where a connection is closed while a statement runs on it, so nothing is closed:
between two statements, what was written is rolled back, and from then on each further one is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy.engine import Dialect

_AGAIN_SECONDS = 0.02
_Result = TypeVar("_Result")
_OF_A_CURSOR = ("do_execute", "do_execute_no_params", "do_executemany")
_OF_A_CONNECTION = ("do_commit", "do_rollback")


class Ended(Exception):
    """Another thread has ended what this one did on the connection."""


class _Gate:
    """Of one connection."""

    def __init__(self) -> None:
        self.call = threading.Lock()  # held by whoever calls the driver
        self.shut = False


_GATES: dict[int, _Gate] = {}
"""By the id of the driver's connection, while it is used in a way that may be ended."""


@contextmanager
def interruptible(connection: Any) -> Iterator[None]:
    """Within it, `end` may end what is done on this connection of the driver's. Needs a `gated` dialect."""
    if not hasattr(connection, "interrupt"):  # a server's
        yield
        return
    _GATES[id(connection)] = _Gate()
    try:
        yield
    finally:
        del _GATES[id(connection)]


def end(connection: Any) -> None:
    """Roll back what is open on it, and let nothing more be done; from another thread.

    Waits until a statement under way has ended, which may itself wait for a lock; it is interrupted where it computes.
    """
    gate = _GATES.get(id(connection))
    if gate is None:
        return
    gate.shut = True
    while not gate.call.acquire(timeout=_AGAIN_SECONDS):
        connection.interrupt()  # again and again: a statement that is only about to begin does not hear of it
    try:
        with suppress(Exception):  # its own thread has ended it
            connection.rollback()
    finally:
        gate.call.release()


def gated(dialect: Dialect) -> Dialect:
    """`dialect`, whose calls ask the gate of their connection; it is changed."""
    for name in _OF_A_CURSOR:
        setattr(dialect, name, _through_gate(getattr(dialect, name), lambda cursor: cursor.connection))
    for name in _OF_A_CONNECTION:
        checks = name != "do_rollback"  # by which its own thread leaves
        setattr(dialect, name, _through_gate(getattr(dialect, name), _driver, checks=checks))
    return dialect


def _driver(connection: Any) -> Any:
    return getattr(connection, "dbapi_connection", connection)


def _through_gate(
    call: Callable[..., _Result], connection_of: Callable[[Any], Any], *, checks: bool = True
) -> Callable[..., _Result]:
    def run(subject: Any, *arguments: Any, **options: Any) -> _Result:
        gate = _GATES.get(id(connection_of(subject)))
        if gate is None:
            return call(subject, *arguments, **options)
        with gate.call:
            if checks and gate.shut:
                raise Ended
            return call(subject, *arguments, **options)

    return run
