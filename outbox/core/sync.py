"""Telling those who wait that something has changed; what, they see for themselves."""

from __future__ import annotations

import math
import os
import select
import threading
from contextlib import suppress
from typing import Protocol


class EventCount(Protocol):
    """Read `count`, look at what is waited for, then `wait(count, …)`: an event in between is not missed."""

    count: int

    def ring(self) -> None:
        """Wake all who wait. From any thread."""

    def wait(self, count: int, timeout: float) -> None:
        """Until it has been rung since it stood at `count`, or for `timeout` seconds; it may end sooner."""


class ThreadEventCount:
    """For threads."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self.count = 0

    def ring(self) -> None:
        with self._rung:
            self.count += 1
            self._rung.notify_all()

    def wait(self, count: int, timeout: float) -> None:
        with self._rung:
            self._rung.wait_for(lambda: self.count != count, timeout)


class Flag:
    """Much like `threading.Event`, for one thread that waits, and that can wait for descriptors besides. POSIX only.

    Without a lock, so that a signal's handler may set it.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._set = False

    def is_set(self) -> bool:
        """Whether `set` was called since `clear`."""
        return self._set

    def set(self) -> None:
        """Wake who waits. From any thread."""
        if not self._set:
            self._set = True
            with suppress(BlockingIOError):  # full: it is awake
                os.write(self._writer, b".")

    def clear(self) -> None:
        """Forget that it was set: to be called before a look at what it was set for."""
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)
        self._set = False  # last: who sets it meanwhile writes nothing, and need not, for the look is yet to come

    def fileno(self) -> int:
        """Readable once it is set."""
        return self._reader

    def wait(self, timeout: float, *descriptors: int) -> bool:
        """Until it is set, one of the descriptors is readable, or for `timeout` seconds (False); it may end sooner."""
        poll = select.poll()
        for descriptor in (self._reader, *descriptors):
            poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(timeout * 1000)))

    def __del__(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
