"""Shutdown requests: from a signal, another thread, or a parent that is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from outbox.core.sync import Flag


class Stop:
    """A shutdown request. A `threading.Event` will not do: a handler that sets it may interrupt the very thread that
    holds its lock, and both wait forever."""

    def __init__(self, lifeline: int | None = None) -> None:
        """`lifeline`: a descriptor that becomes readable when the process's parent has gone; then it is set, too."""
        self._flag = Flag()
        self._lifeline = () if lifeline is None else (lifeline,)

    def set(self) -> None:
        """May be called from a signal's handler."""
        self._flag.set()

    def is_set(self) -> bool:
        """Whether shutdown was requested."""
        return self._flag.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait until it is set, or for `timeout` seconds; whether it is set."""
        if not self.is_set() and self._flag.wait(timeout, *self._lifeline):
            self.set()
        return self.is_set()

    def fileno(self) -> int:
        """A descriptor that is readable once it is set, for waiting on other things as well."""
        return self._flag.fileno()


@contextmanager
def on_signals(stop: Stop, at_once: Callable[[], None] | None = None) -> Iterator[None]:
    """In the block the first SIGTERM or SIGINT sets `stop`, a second one ends the process at once, after `at_once`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            if at_once is not None:
                at_once()
            os._exit(128 + number)
        stop.set()

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
