"""A wake-up primitive without a payload."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from outbox.core.readiness import ready


class Flag:
    """Much like `threading.Event`, for one thread that waits, and that can wait for descriptors besides.

    Without a lock, so that a signal's handler may set it.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()  # a pipe can't be waited for on Windows
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._set = False

    def is_set(self) -> bool:
        """Whether `set` was called since `clear`."""
        return self._set

    def set(self) -> None:
        """Wake the waiting thread. May be called from any thread."""
        if not self._set:
            self._set = True
            with suppress(BlockingIOError):  # full: it is awake
                self._writer.send(b".")

    def clear(self) -> None:
        """Forget that it was set: to be called before a look at what it was set for."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)
        self._set = False  # last: a `set` meanwhile writes nothing, and need not, since the look is yet to come

    def fileno(self) -> int:
        """Readable once it is set."""
        return self._reader.fileno()

    def wait(self, timeout: float, *descriptors: int) -> bool:
        """Until it is set, one of the descriptors is readable, or for `timeout` seconds (False); it may end sooner."""
        return bool(ready(timeout, reading=(self._reader.fileno(), *descriptors)))

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_ending():  # what closing needs may be gone, and the system closes them
            return
        for name in ("_reader", "_writer"):
            if (one := self.__dict__.get(name)) is not None:
                one.close()
