"""How fast a relay takes mail, learnt from its throttles: half at first, then just below what was refused. Pure.

As TCP CUBIC does it: after a throttle the rate comes back along a curve that is steep far below the rate that was
refused and flat near it, stays there, and then probes beyond it. The curve is a function of time, so what is
known changes with a throttle only: workers that know the same go by the same rate without telling each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SLOWEST = 0.1
"""Messages a second: whatever a relay says, so much is offered, or its circuit breaker opens."""

FASTEST = 200.0
"""Messages a second: where so many go, and GONE times what was refused, the limit is gone."""

GONE = 8.0

FIRST_HOLD = 10.0
"""Seconds until the curve is back, while the limit is looked for."""

SETTLED_HOLD = 30.0
"""Once it is found: seconds before more than what was refused is tried. Twice as long each time that it is refused."""

LONGEST_HOLD = 240.0

LEAST_HOLD = 60.0
"""Messages that go before that, however slow they are: so few of them are refused."""

BELOW = 0.96
"""The part of the refused rate at which it settles."""

DOUBLES_SECONDS = 30.0
"""How long it takes to go twice as fast, once more than what was refused is tried and goes: slowly at first."""

GRACE_SECONDS = 1.5
"""After a change, for what was under way, and what the relay still counts: throttles say nothing of the new rate."""

_NEAR, _RISEN = 0.8, 1.25  # of what was refused before: it is the same limit
_BACK = 0.92  # of the rate of a known limit that was met
_DEEPEST = 8.0  # the most by which one throttle divides the rate
_LEAST = 0.6  # of a rate that was refused: the limit is not thought to be lower at once
_LARGE = 0.15  # part of the messages: where more are refused, the limit is lower by that
_CLIFF = (
    1.5  # times the part that a window of one second refuses of a little more than it allows: one after each full one
)
_FEW, _AMONG = 3, 100.0  # throttles, of so many messages, count for nothing: some arrive closer than they were sent


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of one relay's rate, or of that of mail to one domain. Messages a second; moments in seconds."""

    rate: float  # at `since`
    refused: float  # the rate that met a throttle last
    since: float  # when it was lowered
    hold: float = FIRST_HOLD  # seconds until more than what was refused is tried
    hits: int = 0  # throttles that have changed nothing yet
    hit_at: float = 0.0  # when the first of them came
    hit_rate: float = 0.0  # by which mail went then

    @property
    def probes_at(self) -> float:
        """When more than what was refused is tried."""
        return self.since + self._hold

    def at(self, now: float) -> float | None:
        """The rate by which mail goes now; None: the limit is gone."""
        age, top = max(0.0, now - self.since), BELOW * self.refused
        if age < self._hold:
            return max(SLOWEST, top - (top - self.rate) * (1 - age / self._hold) ** 3)
        found = max(SLOWEST, top) * 2.0 ** min(((age - self._hold) / DOUBLES_SECONDS) ** 2, 60.0)
        return found if found < max(FASTEST, GONE * self.refused) else None

    @property
    def _hold(self) -> float:
        return self.hold if self.hold <= FIRST_HOLD else max(self.hold, LEAST_HOLD / self.refused)


def throttled(pace: Pace | None, now: float, *, offered: float, accepted: float, hits: int = 1) -> Pace:
    """After so many throttles within a moment; the same where they change nothing.

    `offered`, `accepted`: messages a second lately, where no rate is known yet.
    """
    rate = pace.at(now) if pace is not None else None
    if pace is None or rate is None:
        return _cut(max(offered, SLOWEST), accepted, now)
    if now < pace.since + GRACE_SECONDS:
        return pace
    if not pace.hits or now - pace.hit_at > _AMONG / rate:
        pace = replace(pace, hits=0, hit_at=now, hit_rate=rate)
    pace = replace(pace, hits=pace.hits + hits)
    probing = now >= pace.probes_at
    if pace.hits < (_FEW - 1 if probing else _FEW):
        return pace
    share = (pace.hits - 1) / max((now - pace.hit_at) * rate, pace.hits)
    large = max(_LARGE, _CLIFF / (1.0 + pace.hit_rate))
    found = pace.hit_rate * (1 - share) if share > large and not probing else pace.hit_rate
    if found < _NEAR * pace.refused:
        return Pace(max(SLOWEST, min(pace.hit_rate / 2, found)), max(found, _LEAST * pace.hit_rate), now)
    if found > _RISEN * pace.refused:
        hold = SETTLED_HOLD
    else:
        hold = max(SETTLED_HOLD, min(2 * pace.hold, LONGEST_HOLD) if probing else pace.hold)
    return Pace(found * _BACK, found, now, hold)


def _cut(refused: float, accepted: float, now: float) -> Pace:
    """A limit that was not known: half of what was refused, or less where the relay took less."""
    return Pace(max(SLOWEST, refused / _DEEPEST, min(refused / 2, accepted)), refused, now)
