"""How much mail of one kind one recipient gets: a rate, and which addresses are one recipient. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST = 100
"""Messages in one period: each that counts is kept until it counts no more."""

LONGEST = 31 * 86_400.0  # seconds of a period

_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_UNITS = {short: word for word in _SECONDS for short in (word, f"{word}s", word[0])} | {"min": "minute"}
_FORM = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})?\s*([a-z]+)\s*", re.IGNORECASE)
_GMAIL = frozenset({"gmail.com", "googlemail.com"})


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `number` messages within any `seconds`."""

    number: int
    seconds: float

    def __str__(self) -> str:
        for word, length in reversed(_SECONDS.items()):
            count, rest = divmod(self.seconds, length)
            if not rest:
                return f"{self.number}/{word}" if count == 1 else f"{self.number}/{count:.0f} {word}s"
        return f"{self.number}/{self.seconds:g} seconds"

    def admits(self, before: Sequence[float], now: float) -> bool:
        """Whether one more may go out, after those at the times `before`. What was turned away never counts."""
        return sum(now - self.seconds < at for at in before) < self.number


def parse(text: str) -> Throttle:
    """`3/hour`, `1/15 minutes`. Raises ValueError with a sentence that goes after the option's name."""
    found = _FORM.fullmatch(text)
    unit = _UNITS.get(found[3].lower()) if found else None
    if found is None or unit is None:
        raise ValueError(
            f"is {text[:80]!r}, not a number of messages in a time: write 3/hour, or 1/15 minutes "
            "(second, minute, hour or day)"
        )
    number, seconds = int(found[1]), int(found[2] or 1) * _SECONDS[unit]
    if not 1 <= number <= MOST:
        raise ValueError(f"is {text[:80]!r}: the number of messages must be from 1 to {MOST}")
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"is {text[:80]!r}: the time must be above 0 and at most {LONGEST / 86_400:.0f} days")
    return Throttle(number, seconds)


def same_person(address: str) -> str:
    """The form in which addresses are compared: in lower case, without a `+tag`, and Gmail's without dots.

    It may be no address that works: nothing is ever sent to it.
    """
    local, _, domain = address.lower().rpartition("@")
    local = local.partition("+")[0] or local
    if domain in _GMAIL:
        local, domain = local.replace(".", "") or local, "gmail.com"
    return f"{local}@{domain}"
