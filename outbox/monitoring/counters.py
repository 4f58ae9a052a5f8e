"""What one worker counts and times for monitoring, kept in memory and read when somebody asks.

Several threads record, so `recorded` counts under a lock; `claimed` is called by the claiming one alone. Who reads may
be late by one mail.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate

from outbox.core.clock import utcnow
from outbox.core.events import Event, EventName
from outbox.delivery.reply import Verdict
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.store.outcome import Outcome

_SENDING = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WAITING = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)
_CLAIMING = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Histogram:
    """How often a value was up to each of some bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many up to it), the last bound being +Inf."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


@dataclass(slots=True)
class Meters:
    """The counters of one worker since it started. Times in seconds."""

    deliveries: Counter[tuple[str, str]] = field(default_factory=Counter)  # by verdict and class of code
    outcomes: Counter[str] = field(default_factory=Counter)  # by what was recorded
    avoided: Counter[str] = field(default_factory=Counter)  # duplicates, by how
    lost_leases: int = 0
    rescues: int = 0
    sending: Histogram = field(default_factory=lambda: Histogram(_SENDING))
    waiting: Histogram = field(default_factory=lambda: Histogram(_WAITING))
    claiming: Histogram = field(default_factory=lambda: Histogram(_CLAIMING))
    ahead: timedelta = timedelta()  # how far the database's clock is ahead of ours
    _lock: threading.Lock = field(default_factory=lambda: threading.Lock())

    def recorded(self, outcome: Outcome, lost: bool) -> None:
        """An outcome is durable, or its lease was lost."""
        with self._lock:
            self._record(outcome, lost)

    def claimed(self, seconds: float) -> None:
        """A claim that found mail took this long."""
        self.claiming.observe(seconds)

    def observe(self, event: Event) -> None:
        """For `Events.observe`."""
        if event.name is EventName.RESCUED:
            self.rescues += 1

    def _record(self, outcome: Outcome, lost: bool) -> None:
        if lost:
            self.lost_leases += 1
            return
        self._count_outcome(outcome)
        result, claimed = outcome.result, outcome.claimed
        if result is None:
            return
        code = result.reply.code
        self.deliveries[result.verdict, "none" if code is None else f"{code // 100}xx"] += 1
        if outcome.transport is None:  # decided here, without a word to the relay
            return
        self.sending.observe(result.duration)
        if result.verdict is Verdict.ACCEPTED and not claimed.attempts and not claimed.rescues:
            self.waiting.observe(max(0.0, (utcnow() + self.ahead - claimed.due_at).total_seconds()))

    def _count_outcome(self, outcome: Outcome) -> None:
        queued = outcome.state is State.QUEUED
        self.outcomes[("retried" if outcome.counted else "released") if queued else outcome.state] += 1
        if outcome.reason == Reason.STOPPED:
            self.avoided["stopped"] += 1
        elif outcome.state is State.UNCERTAIN and outcome.reason == Reason.UNKNOWN:
            self.avoided["held"] += 1
