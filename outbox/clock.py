"""The one module that reads a clock. Due times and leases are the database's (see `dialect.DbNow`), not these."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utcnow() -> datetime:
    """Wall clock, aware, in UTC. For Date headers and display; never for leases or due times."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds that never go back. For deadlines and durations within one process."""
    return time.monotonic()
