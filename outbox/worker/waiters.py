"""The connections that wait for mail, and which of them is woken for the next message.

The one that was used last, if it is open: so an idle worker keeps to one connection, and the others close in time, or
are not opened at all. Another is woken where none that is open waits.
"""

from __future__ import annotations

import threading


class Waiter:
    """A connection's thread that waits, once."""

    __slots__ = ("_parked", "is_open")

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open
        self._parked = threading.Lock()
        self._parked.acquire()

    def wake(self) -> None:
        """From any thread, once."""
        self._parked.release()

    def wait(self, seconds: float) -> bool:
        """Whether it was woken within that time."""
        return self._parked.acquire(timeout=max(0.0, seconds))


class Waiters:
    """Those that wait. Not thread-safe: its owner holds a lock, but not while one waits."""

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []  # who worked last is last

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, *, is_open: bool) -> Waiter:
        """A connection, open or closed, is about to wait."""
        waiter = Waiter(is_open=is_open)
        self._waiting.append(waiter)
        return waiter

    @property
    def any_open(self) -> bool:
        """Whether a connection that is open waits."""
        return any(one.is_open for one in self._waiting)

    def give_up(self, waiter: Waiter) -> None:
        """It was not woken in time."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def wake(self, most: int) -> None:
        """Wake up to so many, for as many messages."""
        for _ in range(min(most, len(self._waiting))):
            chosen = next((one for one in reversed(self._waiting) if one.is_open), self._waiting[-1])
            self._waiting.remove(chosen)
            chosen.wake()

    def wake_all(self) -> None:
        """What they wait for has changed."""
        self.wake(len(self._waiting))
