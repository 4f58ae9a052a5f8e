"""How fast one transport, or mail to one domain, may go: rates, and a quota for any 24 hours. Pure.

A rate is held by GCRA (the generic cell rate algorithm: one moment for each rate, the *theoretical arrival time*), a
quota by a count for each five minutes. Times within them are microseconds since 1970, by the database's clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

SECOND = 1_000_000
"""Microseconds."""

DAY = 86_400 * SECOND

AHEAD = SECOND
"""How long ahead a rate a second is given out: each permit for a moment of its own, which it does not outlive."""

LEEWAY = SECOND // 20
"""The least time within which a permit for one moment may be used. Rates keep so much below what they may be that one
message more than the rate is the most in any second."""

SLACK = 2 * SECOND
"""By which windows are longer than they are called: what was given out goes to the relay a moment later."""

LOCKED = 10 * SECOND
"""The longest that a statement may have waited for a row."""

WIDTH = 300 * SECOND
"""Of the buckets of a quota. What was sent in one is free again when all of it is a day old."""

_LIFE = SECOND // 4  # how long the permits of a batch may be used
_LONG_LIFE = SECOND  # the same of rates from `_LONG_FROM` a second on, of which nobody comes near to a half
_LONG_FROM = 8_000

_BATCHES_FROM = 160  # a second: faster rates are given out in batches while they are not used up
_BATCH_SHARE = 8  # one of so many of what a second allows is given out in one batch

_BURST_SHARE = 20  # of a rate a minute or an hour, one in so many may go at once; the others are spread

_BURST_NOW = 5  # of a rate a second that is not paced, one in so many may go at once

WINDOWS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_UNITS = {short: word for word in WINDOWS for short in (word, f"{word}s", word[0])} | {"sec": "second", "min": "minute"}
_FORM = re.compile(r"(\d{1,9})\s*/\s*([a-z]+)", re.IGNORECASE)


class Batch(NamedTuple):
    """How a fast rate is given out as long as little of it is used: several permits, which are good at once.

    Each takes so much more of the rate that no second has more than it allows, whenever they are used.
    """

    most: int
    interval: int  # from one to the next, as they are counted
    life: int  # how long they may be used


class Cell(NamedTuple):
    """One rate as GCRA has it."""

    interval: int  # from one message to the next
    burst: int  # how many may go at once after a pause
    ahead: int  # how long before its time a message may be given out
    life: int = 0  # how long what is given out without a moment of its own may be kept for other mail

    @property
    def leeway(self) -> int:
        """How much later than its moment a permit may still be used."""
        return max(self.interval // 2, LEEWAY)

    @property
    def batch(self) -> Batch | None:
        """None: each permit has a moment of its own."""
        if not self.ahead or (speed := SECOND // self.interval) < _BATCHES_FROM:
            return None
        most = speed // _BATCH_SHARE
        life = _LONG_LIFE if speed >= _LONG_FROM else _LIFE
        return Batch(most, -(-(SECOND + life) // (speed - most)), life)

    @property
    def furthest(self) -> int:
        """How far ahead of now the theoretical arrival time can be; beyond that the clock was stepped back. A statement
        that waited for the row knows an older time than the one that it waited for."""
        return self.ahead + self.interval * self.burst + LOCKED


@dataclass(frozen=True, slots=True)
class RateLimits:
    """At most so many in each time; None: as many as there are."""

    second: int | None = None
    minute: int | None = None
    hour: int | None = None
    day: int | None = None  # any 24 hours

    def __bool__(self) -> bool:
        return any(getattr(self, word) is not None for word in WINDOWS)

    def __str__(self) -> str:
        given = [(word, getattr(self, word)) for word in WINDOWS]
        return ", ".join(f"{number}/{word}" for word, number in given if number is not None)

    def cells(self, per_second: float | None = None, *, paced: bool = True) -> dict[str, Cell]:
        """By the word of each rate. `per_second`: lower than the settings say, for now. Not `paced`: nothing is given
        out for a moment ahead."""
        cells: dict[str, Cell] = {}
        speeds = [speed for speed in (self.second, per_second) if speed is not None]
        speed = min(speeds, default=0.0)
        if speeds and not paced:
            burst, life = max(1, int(speed) // _BURST_NOW), _LONG_LIFE if speed >= _LONG_FROM else 0
            cells["second"] = Cell(math.ceil((SECOND + LEEWAY + life) / (speed - burst + 1)), burst, 0, life)
        elif speeds:
            cells["second"] = Cell(math.ceil(max(SECOND / speed, (SECOND + LEEWAY) / (speed + 1))), 1, AHEAD)
        for word in ("minute", "hour"):
            number = getattr(self, word)
            if number is not None:
                burst = max(1, number // _BURST_SHARE)
                window = WINDOWS[word] * SECOND + SLACK
                cells[word] = Cell(-(-window // (number - burst + 1)), burst, 0)
        return cells

    def pointless(self) -> tuple[str, str] | None:
        """A limit that can never be reached for another: ("10/second", "5/minute")."""
        given = [(word, getattr(self, word)) for word in WINDOWS if getattr(self, word) is not None]
        for at, (word, number) in enumerate(given):
            for longer, most in given[at + 1 :]:
                if number >= most:
                    return f"{number}/{word}", f"{most}/{longer}"
        return None

    def filled_up(self, other: RateLimits) -> RateLimits:
        """The same, and what it leaves open by `other`, as far as the two fit each other."""
        found = self
        for word in WINDOWS:
            if getattr(self, word) is None and getattr(other, word) is not None:
                more = replace(found, **{word: getattr(other, word)})
                found = found if more.pointless() else more
        return found


def parse(text: str) -> RateLimits:
    """`5/second, 1000/hour`. Raises ValueError with a sentence that goes after the option's name."""
    found: dict[str, int] = {}
    for part in re.split(r"[,;]", text):
        match = _FORM.fullmatch(part.strip())
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(
                f"is {text[:80]!r}, not a rate: write 5/second, or 5/second, 1000/hour (second, minute, hour or day)"
            )
        if unit in found:
            raise ValueError(f"is {text[:80]!r}, which says twice how many go in a {unit}")
        if int(match[1]) < 1:
            raise ValueError(f"is {text[:80]!r}: nothing could ever be sent. Pause the transport instead")
        found[unit] = int(match[1])
    return RateLimits(**found)


class Bucket(NamedTuple):
    """What went within one WIDTH."""

    until: int
    number: int

    @property
    def free_at(self) -> int:
        return self.until + DAY + SLACK


@dataclass(frozen=True, slots=True)
class DayUse:
    """What went within the last 24 hours, the oldest first. The last bucket may still be filled."""

    buckets: tuple[Bucket, ...] = ()

    @classmethod
    def of(cls, counts: Iterable[tuple[int, int]], now: int) -> DayUse:
        """What of these (end of a bucket, count) counts now; what is ahead of now was counted by a clock since stepped
        back."""
        end, merged = bucket_end(now), dict[int, int]()
        for until, count in counts:
            merged[min(until, end)] = merged.get(min(until, end), 0) + count
        found = (Bucket(until, count) for until, count in sorted(merged.items()) if count > 0)
        return cls(tuple(one for one in found if one.free_at > now))

    @property
    def used(self) -> int:
        """How many that is."""
        return sum(one.number for one in self.buckets)

    def open(self, now: int) -> int:
        """How many of them are in the bucket that is being filled."""
        return sum(one.number for one in self.buckets if one.until == bucket_end(now))

    def good_until(self, now: int) -> int:
        """From when on it has to be counted again: the bucket is full, or the oldest is a day old."""
        return min([bucket_end(now), *(one.free_at for one in self.buckets[:1])])

    def without(self, count: int, at: int) -> DayUse:
        """The same, `count` of those that were given out until `at` were not used.

        They are taken from the last bucket until then, and from those before it: some were given out earlier, or the
        clock was stepped forward since. What is taken from a bucket too early leaves one that counts for longer, so it
        is never too many that go.
        """
        found = []
        for one in reversed(self.buckets):
            taken = min(count, one.number) if one.until <= bucket_end(at) else 0
            count -= taken
            found.append(Bucket(one.until, one.number - taken))
        return DayUse(tuple(one for one in reversed(found) if one.number))

    def free_at(self, most: int) -> int | None:
        """When the next may go where `most` are allowed; None: now."""
        over = self.used - most
        for one in self.buckets:
            if over < 0:
                return None
            over -= one.number
            if over < 0:
                return one.free_at
        return None


def bucket_end(at: int) -> int:
    return at - at % WIDTH + WIDTH


class Hold(NamedTuple):
    """That nothing may go for now."""

    limit: str  # "100/day"
    until: datetime


def held(limits: RateLimits, arrivals: Mapping[str, int], use: DayUse, now: int) -> Hold | None:
    """By what, if nothing may go now. `arrivals`: the theoretical arrival times, by the word of each rate."""
    found: list[tuple[int, str]] = []
    for word, cell in limits.cells().items():
        arrival = arrivals.get(word, 0)
        free = arrival - (cell.burst - 1) * cell.interval - cell.ahead
        if now < free and arrival <= now + cell.furthest:
            found.append((free, word))
    if limits.day is not None and (free_at := use.free_at(limits.day)) is not None and free_at > now:
        found.append((free_at, "day"))
    if not found:
        return None
    until, word = max(found)
    return Hold(f"{getattr(limits, word)}/{word}", datetime.fromtimestamp(until / SECOND, UTC))
