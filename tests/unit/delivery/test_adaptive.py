"""Relays that allow a rate, simulated: what is learnt of them, and what that costs."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from outbox.delivery.adaptive import FASTEST, SLOWEST, Pace, throttled

Admits = Callable[[float], bool]


def window(most: int, seconds: float = 1.0) -> Admits:
    taken: deque[float] = deque([float("-inf")] * most, most)

    def admits(now: float) -> bool:
        is_free = taken[0] <= now - seconds
        if is_free:
            taken.append(now)
        return is_free

    return admits


def bucket(rate: float, size: float) -> Admits:
    left, at = size, 0.0

    def admits(now: float) -> bool:
        nonlocal left, at
        left, at = min(size, left + (now - at) * rate), now
        is_free = left >= 1
        left -= is_free
        return is_free

    return admits


@dataclass
class Simulated:
    """A relay, and two workers that always have mail, the second of which learns up to a second later."""

    admits: Admits
    unpaced: float = 60.0
    now: float = 0.0
    known: list[Pace | None] = field(default_factory=lambda: [None, None])
    offers: list[bool] = field(default_factory=list)

    def run(self, seconds: float) -> tuple[float, float]:
        """(accepted a second, part refused) of what goes within this time."""
        chance, arriving, learn = random.Random(7), list[tuple[float, int]](), list[tuple[float, Pace]]()
        began, end, first = self.now, self.now + seconds, len(self.offers)
        while self.now < end:
            worker = chance.randrange(2)
            if learn and learn[0][0] <= self.now:
                self.known[1] = learn.pop(0)[1]
            pace = self.known[worker]
            self.now += 1 / ((pace and pace.at(self.now)) or self.unpaced)
            heapq.heappush(arriving, (self.now + abs(chance.gauss(0, 0.01)), worker))
            while arriving and arriving[0][0] <= self.now:
                at, _ = heapq.heappop(arriving)
                self.offers.append(self.admits(at))
                if not self.offers[-1]:
                    lately = self.offers[-20:]
                    speed = (pace and pace.at(self.now)) or self.unpaced
                    new = throttled(self.known[0], at, offered=speed, accepted=speed * sum(lately) / len(lately))
                    if self.known[0] is None or new.since != self.known[0].since:
                        learn.append((at + chance.random(), new))
                    self.known[0] = new
        offers = self.offers[first:]
        return sum(offers) / (self.now - began), 1 - sum(offers) / len(offers)


@pytest.mark.parametrize(
    ("relay", "allowed"),
    [(window(5), 5), (window(14), 14), (window(40), 40), (bucket(5, 5), 5), (bucket(5, 50), 5)],
    ids=["window 5", "window 14", "window 40", "bucket 5", "bucket 5, 50 at once"],
)
def test_nine_tenths_of_what_is_allowed_go(relay: Admits, allowed: float) -> None:
    """After a minute and a half; and less than one in twenty is refused."""
    simulated = Simulated(relay)
    simulated.run(90)
    speed, refused = simulated.run(500)
    assert speed >= 0.9 * allowed
    assert refused < 0.05


def test_a_limit_by_the_minute_is_found() -> None:
    """Though all is refused for most of the first one."""
    simulated = Simulated(window(300, 60.0))
    simulated.run(900)
    speed, refused = simulated.run(600)
    assert speed >= 0.8 * 5
    assert refused < 0.2


def test_a_limit_that_is_raised_is_found_within_minutes() -> None:
    simulated = Simulated(window(5))
    simulated.run(200)
    simulated.admits = window(20)
    simulated.run(200)
    speed, _ = simulated.run(100)
    assert speed >= 0.9 * 20


def test_a_limit_that_is_lowered_is_found_within_a_minute() -> None:
    simulated = Simulated(window(20))
    simulated.run(200)
    simulated.admits = window(5)
    simulated.run(60)
    speed, refused = simulated.run(100)
    assert speed >= 0.85 * 5
    assert refused < 0.05


def test_a_limit_that_is_gone_is_forgotten() -> None:
    simulated = Simulated(window(5))
    simulated.run(100)
    simulated.admits = lambda _now: True
    simulated.run(500)
    pace = simulated.known[0]
    assert pace is not None
    assert pace.at(simulated.now) is None


def test_the_first_throttle_halves_the_rate() -> None:
    pace = throttled(None, 1000.0, offered=40.0, accepted=30.0)
    assert pace.at(1000.0) == 20.0


def test_a_relay_that_takes_nothing_is_offered_some() -> None:
    pace: Pace | None = None
    for number in range(200):
        pace = throttled(pace, 1000.0 + 2 * number, offered=40.0, accepted=0.0, hits=9)
        assert SLOWEST <= (pace.at(1000.0 + 2 * number) or 0.0) <= FASTEST


def test_what_was_under_way_counts_for_nothing() -> None:
    pace = throttled(None, 1000.0, offered=40.0, accepted=30.0)
    assert throttled(pace, 1001.0, offered=40.0, accepted=30.0, hits=50) is pace
