"""How times are written for people, and read from them: 30s, 15m, 2h, 7d; which text a database can hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_SPELLED = {"m": "min"}
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d)?")
_ONE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", re.IGNORECASE)


def duration(seconds: float) -> str:
    """The two largest units of a time: "45s", "2m 5s", "3h", "7d 4h"."""
    if seconds < 1:
        return "0s" if seconds < 0.05 else f"{seconds:.1f}s"
    left = round(seconds)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        number, left = divmod(left, int(_UNITS[unit]))
        if number or parts:
            parts.append(f"{number}{unit}" if number else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def spelled(seconds: float) -> str:
    """The same for a sentence: "45 s", "2 min 5 s", "3 h"."""
    return re.sub(r"([\d.]+)(\w)", lambda part: f"{part[1]} {_SPELLED.get(part[2], part[2])}", duration(seconds))


def sentence(text: str) -> str:
    """With a full stop at its end."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def parse_duration(text: str) -> timedelta:
    """The time that "30s", "15m", "2h", "7d", "1h30m" or "1.5h" means. Raises ValueError for anything else."""
    compact = "".join(text.split())
    found = list(_ONE.finditer(compact))
    if not found or "".join(match[0] for match in found) != compact:
        raise ValueError(f"{text!r} is not a duration: use a number and a unit, such as 30s, 15m, 2h or 7d")
    try:
        return timedelta(seconds=sum(float(match[1]) * _UNITS[match[2].lower()] for match in found))
    except OverflowError:
        raise ValueError(f"{text!r} is too long")


def parse_moment(text: str, now: datetime) -> datetime:
    """The time that "18:30" (the next one), "2026-11-24" or "2026-11-24T18:30" means: UTC, unless it says a zone.

    Raises ValueError for anything else.
    """
    compact = text.strip()
    try:
        if _CLOCK.fullmatch(compact):
            meant = datetime.combine(now.astimezone(UTC), time.fromisoformat(compact), UTC)
            return meant if meant > now else meant + timedelta(days=1)
        found = datetime.fromisoformat(compact)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: use 18:30, 2026-11-24 or 2026-11-24T18:30 (UTC)") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def storable(value: str) -> bool:
    """Whether any database could hold it: NUL and lone surrogates are refused by the drivers, so they match nothing."""
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
