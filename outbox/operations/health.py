"""What there is to know of the state of the outbox: values. `problems` judges them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from outbox.delivery.states import Lane, State
from outbox.operations.digests import DigestCount
from outbox.operations.effects import EffectCount
from outbox.operations.outcomes import Outcomes
from outbox.operations.rates import RateUse
from outbox.operations.reported_shares import ReportedShare
from outbox.operations.slowed import SlowedMail
from outbox.store.pauses import EVERY, Pause, What


@dataclass(frozen=True, slots=True)
class Worker:
    """One `outbox-sender` process that has not shut down cleanly."""

    id: int
    host: str
    pid: int
    version: str
    environment: str
    connections: int
    started_at: datetime
    uptime: float  # seconds
    heartbeat_age: float  # seconds
    alive: bool
    health: dict[str, Any]  # as the worker wrote it
    per_second: float | None  # messages sent per second over the last minute
    asked: str | None = None  # by a person: to "stop", or to "drain" and stop

    def others_alive(self, workers: Iterable[Worker]) -> int:
        """How many of these run beside it, and send the same mail."""
        return sum(one.alive and one.id != self.id and one.environment == self.environment for one in workers)

    @property
    def unserved_routes(self) -> list[str]:
        """Of mail that only transports may carry which its settings don't name."""
        said = self.health.get("unserved_routes")
        return [str(one) for one in said] if isinstance(said, list) else []

    @property
    def repaired(self) -> list[tuple[str, float]]:
        """The faults that it dealt with lately: (what, seconds ago)."""
        said = self.health.get("repaired")
        told = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
        return [
            (str(one.get("what")), ago + self.heartbeat_age)
            for one in told
            if isinstance(ago := one.get("ago_seconds"), int | float)
        ]


@dataclass(frozen=True, slots=True)
class Transport:
    """One SMTP relay, as a living worker sees it."""

    name: str  # its name among several, else host:port
    state: Literal["up", "down"]  # down: one delivery at a time is offered, to find out whether it is up again
    since: datetime | None  # when it went down
    error: str | None  # the phase, and the server's words or ours
    remedy: str | None
    next_probe_seconds: float | None
    worker_id: int
    about: str | None = None  # "account": a quota or rate holds; "relay": it can't be used
    cause: str | None = None  # why it is down, one word (`breaker.Cause`); "refusals": it refuses every message
    connections: int | None = None  # how many it lets this worker have at once
    connections_most: int | None = None  # how many this worker would open
    connections_reply: str | None = None  # its words to the one that was too many
    connections_share: int | None = None  # how many it may have of those of all workers; None: there is no such limit
    ramp_connections: int | None = None  # how many work, since a backlog goes out at a pace; None: all may
    ramp_seconds: float = 0.0  # until all may
    address: str | None = None  # host:port
    soft_until: str | None = None  # "2026-12-01 18:00 UTC": until then its 5xx replies count as temporary

    @property
    def soft_words(self) -> str:
        """That they do."""
        return f"5xx replies of {self.shown} count as temporary until {self.soft_until}: OUTBOX_SOFT_BOUNCE_UNTIL"

    def is_soft(self, now: datetime) -> bool:
        """Whether they still do."""
        return self.soft_until is not None and f"{now:%Y-%m-%d %H:%M} UTC" < self.soft_until

    @property
    def shown(self) -> str:
        """Its name, and the address where that is another."""
        return self.name if self.address in (None, self.name) else f"{self.name} ({self.address})"


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed deliveries of the last 24 hours, or deferred ones, with the same cause at the same domain."""

    error: str  # enhanced code, else basic code, else the reason
    domain: str  # the recipients'
    count: int
    first: datetime
    last: datetime
    reply: str | None  # of the newest of them
    transport: str | None  # which gave it; None: no attempt was made


@dataclass(frozen=True, slots=True)
class Status:
    """All of it; `healthy` is that there are no `problems`."""

    at: datetime
    states: dict[State, int]
    due_now: int  # queued and due, or held under a lease that ran out; not what is paused
    due_by_lane: dict[Lane, int]
    held: int  # due and paused
    oldest_due_seconds: float | None
    oldest_due_by_lane: dict[Lane, float | None]
    workers: list[Worker]
    transports: list[Transport]
    sent_last_minute: int
    sent_last_hour: int
    sent_last_day: int
    failed_last_minute: int
    failed_last_hour: int
    failed_last_day: int
    deferred: int  # wait for their next attempt
    deferred_last_minute: int  # attempts that were deferred, among the newest `outcomes.SEEN`
    deferred_last_hour: int
    deferred_last_day: int
    outcomes: Outcomes  # of the last minutes
    drain_seconds: float | None  # until what is due now is sent, at the rate of the last minute, else of the last hour
    growing: bool  # `drain_seconds` has been growing for as long as makes it a problem
    pauses: list[Pause]
    held_for_long: int  # due and paused without an end, or for longer than makes it a problem
    failures: list[FailureGroup]  # of our environment, as are the next
    deferred_groups: list[FailureGroup]
    foreign: dict[str, int]  # due mail of other environments that have no living worker
    suppressed: bool
    environment: str  # ours
    shared: bool  # whether other environments have messages in this database, too
    count_cap: int
    slowed: list[SlowedMail] = field(default_factory=list)  # since its relay throttles
    rates: list[RateUse] = field(default_factory=list)  # of transports and domains that were used within a day
    events_last_hour: dict[str, int] = field(default_factory=dict)  # what was reported, by type
    events_last_day: dict[str, int] = field(default_factory=dict)
    suppressions: int = 0  # in force
    reported: list[ReportedShare] = field(
        default_factory=list
    )  # what was complained about and bounced, of what was sent
    late: int = 0  # messages that were warned of (OUTBOX_DELAY_WARNING_SECONDS) and are not sent yet
    effects: list[EffectCount] = field(default_factory=list)  # what handlers and webhooks are still to do
    digests: list[DigestCount] = field(default_factory=list)  # what waits to be told in one message
    problems: list[str] = field(default_factory=list)  # what makes it unhealthy, each with what is to be done
    problem_kinds: list[str] = field(default_factory=list)  # of each problem in one word (`problems.Kind`)
    notes: list[str] = field(default_factory=list)  # what one should know

    @property
    def healthy(self) -> bool:
        return not self.problems

    @property
    def our_pauses(self) -> list[Pause]:
        """Those that hold back mail of our environment."""
        return [one for one in self.pauses if one.environment in (EVERY, self.environment)]

    def rests(self, transport: str) -> bool:
        """Whether a pause is why nothing goes by this transport."""
        ours = (one for one in self.our_pauses if not one.narrow)
        return any(one.what is What.ALL or one.value == transport.lower() for one in ours)
