"""Values as people read them, in pages and mail."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def duration(seconds: int) -> str:
    """`seconds` in the largest unit that divides them: "3 days", "1 hour", "90 minutes"."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "0 seconds"


def minutes(time: timedelta) -> str:
    """`time` in minutes, rounded up: "1 minute", "15 minutes"."""
    count = max(1, -(-time // timedelta(minutes=1)))
    return f"{count} minute{'' if count == 1 else 's'}"
