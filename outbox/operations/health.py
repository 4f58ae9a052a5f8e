"""What there is to know of the outbox's state, and what of it is a problem: values and pure judgement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from outbox.operations.words import duration
from outbox.pauses import Pause, What
from outbox.states import Lane, State

FOREIGN_CAP = 1_000
"""Where the count of another environment's mail stops."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One `outbox-sender` process that has not ended in good order."""

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
    per_second: float | None  # mails sent in the last minute, each second

    @property
    def mended(self) -> list[tuple[str, float]]:
        """The faults that it dealt with lately: (what, seconds ago)."""
        said = self.health.get("mended")
        told = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
        return [
            (str(one.get("what")), ago + self.heartbeat_age)
            for one in told
            if isinstance(ago := one.get("ago_seconds"), int | float)
        ]


@dataclass(frozen=True, slots=True)
class Transport:
    """One SMTP relay, as a living worker sees it."""

    name: str  # host:port
    state: str  # "closed" is well; "open" (nothing is sent) and "half-open" (one mail tries) are not
    since: datetime | None  # when it left "closed"
    error: str | None  # in the server's words
    next_probe_seconds: float | None
    worker_id: int


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed deliveries of the last 24 hours, or deferred ones, with the same cause at the same domain."""

    error: str  # enhanced code, else basic code, else the reason
    domain: str
    count: int
    first: datetime
    last: datetime
    reply: str | None  # of one of them


@dataclass(frozen=True, slots=True)
class Status:
    """All of it; `healthy` is that there are no `problems`."""

    at: datetime
    states: dict[State, int]
    due_now: int  # queued and due, or held under a lease that ran out; not what is paused
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
    drain_seconds: float | None  # until what is due now is sent, at the rate of the last minute, else of the last hour
    pauses: list[Pause]
    failures: list[FailureGroup]
    foreign: dict[str, int]  # due mail of other environments that have no living worker
    suppressed: bool
    count_cap: int
    problems: list[str] = field(default_factory=list)  # what makes it unhealthy, each with what is to be done
    notes: list[str] = field(default_factory=list)  # what one should know

    @property
    def healthy(self) -> bool:
        return not self.problems

    def rests(self, transport: str) -> bool:
        """Whether a pause is why nothing goes by this transport."""
        return any(one.what is What.ALL or one.value == transport.lower() for one in self.pauses if not one.narrow)


def problems(seen: Status, *, alarm_oldest: float, environment: str, unserved: bool) -> Iterator[str]:
    """What is wrong, each with what is to be done. `unserved`: our environment has mail and no worker."""
    oldest = seen.oldest_due_seconds
    if oldest is not None and oldest > alarm_oldest:
        yield f"the oldest due mail has been waiting for {duration(oldest)}, longer than {duration(alarm_oldest)}"
    if seen.due_now and unserved:
        dead = next((worker for worker in seen.workers if not worker.alive), None)
        last = f"; {dead.host} pid {dead.pid} was last heard of {duration(dead.heartbeat_age)} ago" if dead else ""
        yield f"mail is due and no worker is alive{last}: start `outbox-sender`"
    troubled = [one for one in seen.transports if one.state != "closed" and not seen.rests(one.name)]
    # many workers tell the same of one relay: once is enough
    yield from {(t.name, t.state): _transport_problem(t, seen.at) for t in reversed(troubled)}.values()
    for worker in seen.workers:
        if worker.alive and worker.health.get("database"):
            yield f"worker {worker.host} pid {worker.pid} has trouble with the database: {worker.health['database']}"
    for name, number in seen.foreign.items():
        yield (
            f"{_about(number, FOREIGN_CAP)} due mail of environment {name!r}, which no worker sends; ours is "
            f"{environment!r}: is this a copy of another database, or is OUTBOX_ENVIRONMENT wrong?"
        )


def _transport_problem(transport: Transport, now: datetime) -> str:
    words = f"transport {transport.name} is {transport.state}"
    if transport.since is not None:
        words += f" for {duration((now - transport.since).total_seconds())}"
    if transport.error:
        words += f": {transport.error}"
    if transport.next_probe_seconds is not None:
        words += f" (next probe in {duration(transport.next_probe_seconds)})"
    return words


def notes(seen: Status) -> Iterator[str]:
    """What one should know although nothing is wrong."""
    if seen.suppressed:
        yield "MAIL_SUPPRESS_SEND is on: mail is recorded and nothing is sent"
    yield from (_pause_note(one, seen.at) for one in seen.pauses)
    if seen.held:
        yield f"{_about(seen.held, seen.count_cap)} due and paused; `outbox-resume` lets it go"
    for worker in seen.workers:
        for what, ago in worker.mended if worker.alive else ():
            yield f"worker {worker.host} pid {worker.pid}, {duration(ago)} ago: {what}"
    uncertain = seen.states[State.UNCERTAIN]
    if uncertain:
        number = _about(uncertain, seen.count_cap)
        yield f"{number} uncertain: did it arrive? `outbox-mark-sent` if so, else `outbox-requeue`"


def _pause_note(pause: Pause, now: datetime) -> str:
    words = f"paused: {pause}, for {duration((now - pause.since).total_seconds())}, by {pause.by}"
    if pause.until is not None:
        words += f", {duration((pause.until - now).total_seconds())} to go"
    return f"{words}: {pause.reason}" if pause.reason else words


def drain_seconds(due: int, last_minute: int, last_hour: int) -> float | None:
    """Until so many are sent; None where nothing is due or nothing was sent of late."""
    rate = last_minute / 60.0 or last_hour / 3_600.0
    return due / rate if due and rate else None


def _about(number: int, cap: int) -> str:
    return f"more than {cap}" if number > cap else str(number)
