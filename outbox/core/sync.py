"""A wake-up primitive without a payload."""

from __future__ import annotations

import math
import os
import select
from collections.abc import Callable
from contextlib import suppress


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
        """Wake the waiting thread. May be called from any thread."""
        if not self._set:
            self._set = True
            with suppress(BlockingIOError):  # full: it is awake
                os.write(self._writer, b".")

    def clear(self) -> None:
        """Forget that it was set: to be called before a look at what it was set for."""
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)
        self._set = False  # last: a `set` meanwhile writes nothing, and need not, since the look is yet to come

    def fileno(self) -> int:
        """Readable once it is set."""
        return self._reader

    def wait(self, timeout: float, *descriptors: int) -> bool:
        """Until it is set, one of the descriptors is readable, or for `timeout` seconds (False); it may end sooner."""
        poll = select.poll()
        for descriptor in (self._reader, *descriptors):
            poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(timeout * 1000)))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._reader)  # at the end of the process, when the module's own names are gone, too
        close(self._writer)
