"""The one module that reads a clock. Due times and leases are the database's (see `dialect.DbNow`), not these."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_frozen: datetime | None = None


def utcnow() -> datetime:
    """Wall clock, aware, in UTC. For Date headers and display; never for leases or due times."""
    return _frozen or datetime.now(UTC)


def freeze(moment: datetime | None) -> None:
    """For `outbox.testing` alone: let `utcnow` stand still at `moment`, or go on again."""
    global _frozen
    _frozen = None if moment is None else moment.astimezone(UTC)


def monotonic() -> float:
    """Seconds that never go back. For deadlines and durations within one process."""
    return time.monotonic()


class Debounce:
    """Lets one thing through per interval. Safe enough between threads: at worst two pass."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def passes(self) -> bool:
        """Whether the interval since the last one that passed is over."""
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
