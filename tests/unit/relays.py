"""A model of a queue, a worker's claims and a relay that refuses by rule, on a virtual clock.

The judge, the breaker, the feed and the decisions are the product's own; the table is a list, and the relay a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from outbox.blame import Blame
from outbox.breaker import Breaker
from outbox.claims import Claimed
from outbox.evidence import Refusals
from outbox.feed import Feed, Leased
from outbox.pauses import FIRST_PROBE, LONGEST_PROBE
from outbox.policy import Facts, RetryPolicy, decide
from outbox.reply import About, Phase, Reply, Result, Verdict
from outbox.states import OnUncertain, State
from outbox.stored import Stored

POLL = 1.0
WINDOW = 8
TAKES = 0.25  # seconds of one attempt
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def answer(
    verdict: Verdict,
    phase: Phase,
    code: int | None,
    *,
    enhanced: str | None = None,
    about: About | None = None,
    wait: float | None = None,
) -> Result:
    """What an attempt came to."""
    return Result(verdict, phase, Reply(code, enhanced, "words"), TAKES, retry_after=wait, about=about)


ACCEPTED = answer(Verdict.ACCEPTED, Phase.DOT, 250)
DOWN = answer(Verdict.TRANSPORT, Phase.CONNECT, None, about=About.RELAY)
TOO_MANY = answer(Verdict.TRANSPORT, Phase.GREETING, 421, about=About.CONNECTIONS)


@dataclass
class Delivery:
    """A row of the table."""

    id: int
    sender: str
    recipient: str
    due: float = 0.0
    state: State = State.QUEUED
    attempts: int = 0
    deferrals: int = 0
    rescues: int = 0
    finished: float | None = None
    code: int | None = None

    @property
    def domain(self) -> str:
        """The recipient's."""
        return self.recipient.partition("@")[2]


@dataclass
class Line:
    """A connection of the worker."""

    connected: bool = False
    leased: Leased | None = None
    ends: float = 0.0
    result: Result = ACCEPTED

    @property
    def is_connected(self) -> bool:
        """Whether the relay has let it in."""
        return self.connected

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass
class Offered:
    """An attempt under way or over."""

    at: float
    delivery: int
    result: Result
    others: frozenset[int]  # that were due and not paused when it ended


Says = Callable[[Delivery, float], Result | None]


@dataclass
class World:
    """A relay, a queue and one worker. `says`: what the relay answers to a delivery at a time; None: it takes it."""

    deliveries: list[Delivery]
    says: Says
    connections: int = 3
    admits: int = 100
    refusals: int = 10
    is_down: Callable[[float], bool] = lambda now: False
    now: float = 0.0
    offers: list[Offered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = {one.id: one for one in self.deliveries}
        self.lines = [Line() for _ in range(self.connections)]
        self.blame = Blame(Breaker(first_probe=5.0, most=60.0), Refusals(self.refusals))
        self.feed = Feed(self.blame, lambda: self.now, members=self.lines)
        self.policy = RetryPolicy()
        self.paused: dict[tuple[About, str], tuple[float, float]] = {}  # (when to probe, wait)
        self.token = 0

    def run(self, until: float) -> None:
        """Let time go on until all is settled, or that moment."""
        while self.now < until and not self.settled:
            self._claim()
            self._begin()
            self.now = min(until, self._next_event())
            self._end()

    @property
    def settled(self) -> bool:
        """Whether nothing is queued or under way."""
        return all(one.state not in {State.QUEUED, State.SENDING} for one in self.deliveries)

    def of(self, state: State) -> set[int]:
        """The deliveries in a state."""
        return {one.id for one in self.deliveries if one.state is state}

    def eligible(self) -> list[Delivery]:
        """Due, not paused, and not under way; the order in which they are claimed."""
        due = [one for one in self.deliveries if one.state is State.QUEUED and one.due <= self.now]
        free = [one for one in due if not self._is_paused(one)]
        return sorted(free, key=lambda one: (one.attempts + one.deferrals > 0, one.due, one.id))

    def _is_paused(self, one: Delivery) -> bool:
        return (About.SENDER, one.sender) in self.paused or (About.DOMAIN, one.domain) in self.paused

    def _claim(self) -> None:
        surplus = self.feed.surplus()
        for leased in surplus:
            self.table[leased.claimed.id].state = State.QUEUED
        room = self.feed.room(WINDOW)
        if not room:
            return
        suspects = self.feed.suspects()
        probes = self._claim_probes(room if suspects is None else 1)
        if probes and suspects is not None:
            return
        room -= probes
        eligible = self.eligible()
        if suspects is not None and any(suspects):
            apart = [one for one in eligible if one.sender not in suspects[0] and one.domain not in suspects[1]]
            eligible = apart or eligible
        for one in eligible[:room]:
            self._lease(one)

    def _claim_probes(self, most: int) -> int:
        found = 0
        for (about, value), (probe_at, wait) in list(self.paused.items()):
            if probe_at > self.now or found >= most:
                continue
            self.paused[about, value] = self.now + min(wait * 2, LONGEST_PROBE), min(wait * 2, LONGEST_PROBE)
            due = [one for one in self.deliveries if one.state is State.QUEUED and one.due <= self.now]
            for one in sorted(due, key=lambda one: (one.attempts + one.deferrals > 0, one.due, one.id)):
                other = (About.DOMAIN, one.domain) if about is About.SENDER else (About.SENDER, one.sender)
                if value == (one.sender if about is About.SENDER else one.domain) and other not in self.paused:
                    self._lease(one)
                    found += 1
                    break
        return found

    def _lease(self, one: Delivery) -> None:
        one.state = State.SENDING
        self.token += 1
        message = Stored(
            one.id, f"<{one.id}@x>", "", None, one.sender, 1, False, (), (), OnUncertain.RETRY, NOW, None, b"x", ()
        )
        claimed = Claimed(
            one.id, self.token, one.recipient, 2, NOW, one.attempts, one.rescues, False, False, message, one.deferrals
        )
        self.feed.put([Leased(claimed, self.now + 1200)])

    def _begin(self) -> None:
        for line in sorted(self.lines, key=lambda line: not line.connected):
            if line.leased is None and (leased := self.feed.take(0, 0, line)) is not None:
                line.leased, line.ends = leased, self.now + TAKES
                line.result = self._relay(line, self.table[leased.claimed.id])

    def _relay(self, line: Line, one: Delivery) -> Result:
        if self.is_down(self.now):
            line.connected = False
            return DOWN
        if not line.connected and sum(other.connected for other in self.lines) >= self.admits:
            return TOO_MANY
        line.connected = True
        result = self.says(one, self.now) or ACCEPTED
        if result.reply.code is None or result.reply.code == 421:
            line.connected = False
        return result

    def _next_event(self) -> float:
        ends = [line.ends for line in self.lines if line.leased is not None]
        waits = [one.due for one in self.deliveries if one.state is State.QUEUED]
        waits += [self.blame.breaker.probe_at, *(probe_at for probe_at, _ in self.paused.values())]
        idle = [at for at in waits if at > self.now]
        if self.blame.breaker.ready(self.now) != 0 and (self.eligible() or any(self._waiting())):
            idle.append(self.now + POLL)
        return min([*ends, *(max(at, self.now + 0.01) for at in idle)], default=self.now + POLL)

    def _end(self) -> None:
        for line in self.lines:
            if line.leased is not None and line.ends <= self.now:
                self._end_one(line, line.leased)

    def _end_one(self, line: Line, leased: Leased) -> None:
        result, one = line.result, self.table[leased.claimed.id]
        line.leased = None
        facts = Facts(
            one.attempts, one.rescues, OnUncertain.RETRY, None, healthy=self.feed.healthy, deferrals=one.deferrals
        )
        if self.feed.turned_away(leased, result, line):
            self.feed.put([leased])
            return
        _, ruling = self.feed.done(leased, result, 0.5, line)
        decision = decide(result, replace(facts, withheld=ruling.withheld, down=self.feed.is_down), self.policy, 0.5)
        one.state, one.code = decision.state, result.reply.code
        one.attempts += decision.counted
        one.deferrals += decision.deferred
        one.rescues += decision.suspected
        one.due = self.now + decision.delay if decision.delay is not None else one.due
        one.finished = None if decision.state is State.QUEUED else self.now
        for blamed in ruling.blamed:
            self.paused.setdefault((blamed.scope.about, blamed.scope.value), (self.now + FIRST_PROBE, FIRST_PROBE))
        for other in (self.table[number] for number in ruling.take_back):
            if other.state is State.FAILED and other.code == result.reply.code:
                other.state, other.due, other.attempts = State.QUEUED, self.now + 60.0, 0
                other.deferrals += 1
        if result is ACCEPTED:
            self.paused.pop((About.SENDER, one.sender), None)
            self.paused.pop((About.DOMAIN, one.domain), None)
        claimed = {entry.claimed.id for entry in self._waiting() if not self._is_paused(self.table[entry.claimed.id])}
        others = claimed | {other.id for other in self.eligible()}
        self.offers.append(Offered(self.now, one.id, result, frozenset(others - {one.id})))

    def _waiting(self) -> Iterator[Leased]:
        return (entry[2] for entry in self.feed._heap)
