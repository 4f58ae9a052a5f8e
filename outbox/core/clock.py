"""The one module that reads a clock. Due times and leases are the database's (see `store.types.DbNow`), not these."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

UNREADABLE = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for a stored time that can't be read: any text on SQLite, MariaDB's zero dates."""


def utcnow() -> datetime:
    """Wall clock, aware, in UTC. For Date headers and display; never for leases or due times."""
    return datetime.now(UTC)


def epoch_ns() -> int:
    """Nanoseconds since 1970. For what others record, such as spans."""
    return time.time_ns()


_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)
"""Linux' plain monotonic clock stands still while the machine is suspended, macOS' own (`time.monotonic`) too: a worker
would wake and take its leases for good that the others have long seen run out."""


monotonic: Callable[[], float] = time.monotonic if _MONOTONIC is None else partial(time.clock_gettime, _MONOTONIC)
"""Seconds that never go back, including those of a suspended machine. For deadlines within one process."""


def awake() -> float:
    """Seconds that this machine was awake. To tell a thread that hangs from one that had no time to run."""
    return time.monotonic()


def ahead() -> float:
    """Seconds that the wall clock is ahead of the monotonic one: more of a sudden where it was stepped, or where a
    virtual machine was stopped, which no clock of its own counts, and its wall clock was put right afterwards."""
    return time.time() - monotonic()


class Debounce:
    """Lets one thing through per interval. Safe enough between threads: at worst two pass."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._next = 0.0

    def passes(self) -> bool:
        """Whether the interval since the last one that passed is over."""
        now = self._monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Steps:
    """Notices that another clock was stepped, by comparing it with the monotonic one. Not thread-safe."""

    def __init__(self, tolerance: float) -> None:
        """`tolerance`: seconds of difference between two readings that are no step."""
        self._tolerance = tolerance
        self._offset: tuple[float, float] | None = None  # at least, at most

    @property
    def latest(self) -> float | None:
        """Seconds, at most, that the other clock is ahead of the monotonic one; None before the first reading."""
        return None if self._offset is None else self._offset[1]

    @property
    def earliest(self) -> float | None:
        """The same, at the least."""
        return None if self._offset is None else self._offset[0]

    def saw(self, reading: float, began: float, ended: float) -> float:
        """Seconds by which it was stepped since the last reading; 0.0: not. It was read between these two moments."""
        before, self._offset = self._offset, (reading - ended, reading - began)
        if before is None:
            return 0.0
        forward, back = self._offset[0] - before[1], before[0] - self._offset[1]
        return forward if forward > self._tolerance else -back if back > self._tolerance else 0.0
