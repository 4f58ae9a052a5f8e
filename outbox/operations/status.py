"""How the outbox fares: one look that costs the same however much mail there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.operations.tables import DELIVERY, MESSAGE, WORKER
from outbox.operations.words import duration
from outbox.states import Lane, State

COUNT_CAP = 1_000_000
"""Where counting stops: a count that says one more means "more than this"."""

FAILURES_SEEN = 10_000
FAILURE_GROUPS = 10
FOREIGN_SEEN = 1_000
WORKERS_SHOWN = 100
DAY = 86_400.0


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


@dataclass(frozen=True, slots=True)
class Transport:
    """One SMTP relay, as a living worker sees it."""

    name: str  # host:port
    state: str  # "closed" is well; "open" and "half-open" are not
    since: str | None  # ISO 8601
    error: str | None  # in the server's words
    next_probe_seconds: float | None
    worker_id: int


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed deliveries of the last 24 hours with the same cause at the same domain."""

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
    due_now: int  # queued and due, or held under a lease that ran out
    oldest_due_seconds: float | None
    oldest_due_by_lane: dict[Lane, float | None]
    workers: list[Worker]
    transports: list[Transport]
    sent_last_minute: int
    sent_last_hour: int
    sent_last_day: int
    failures: list[FailureGroup]
    foreign: dict[str, int]  # due mail of other environments that have no living worker
    suppressed: bool
    count_cap: int
    problems: list[str] = field(default_factory=list)  # what makes it unhealthy, each with what is to be done
    notes: list[str] = field(default_factory=list)  # what one should know

    @property
    def healthy(self) -> bool:
        return not self.problems


def status(
    connection: sa.Connection,
    *,
    dead_after: float,
    alarm_oldest: float,
    environment: str = "",
    suppressed: bool = False,
    count_cap: int = COUNT_CAP,
) -> Status:
    """Look at everything once.

    `dead_after`: seconds without heartbeat after which a worker counts as dead. `alarm_oldest`: seconds that mail may
    be due before it is a problem. `environment`: ours. `suppressed`: whether MAIL_SUPPRESS_SEND is on here.
    """
    now = connection.execute(sa.select(DbNow())).scalar_one()
    workers = _workers(connection, now, dead_after)
    by_lane = {lane: _oldest_due(connection, now, lane) for lane in Lane}
    living = [worker for worker in workers if worker.alive]
    unserved = _unserved(connection, {worker.environment for worker in living})
    ours = unserved.pop(environment, 0)
    seen = Status(
        at=now,
        states={state: _count(connection, count_cap, DELIVERY.c.state == state.value) for state in State},
        due_now=_count(connection, count_cap, DELIVERY.c.due_at <= DbNow()),
        oldest_due_seconds=max((age for age in by_lane.values() if age is not None), default=None),
        oldest_due_by_lane=by_lane,
        workers=workers,
        transports=[transport for worker in living for transport in _transports(worker)],
        sent_last_minute=_sent(connection, count_cap, 60.0),
        sent_last_hour=_sent(connection, count_cap, 3_600.0),
        sent_last_day=_sent(connection, count_cap, DAY),
        failures=_failures(connection),
        foreign=unserved,
        suppressed=suppressed or any(worker.health.get("suppressed") is True for worker in living),
        count_cap=count_cap,
    )
    seen.problems.extend(_problems(seen, alarm_oldest, environment, unserved=ours > 0))
    seen.notes.extend(_notes(seen))
    return seen


def _problems(seen: Status, alarm_oldest: float, environment: str, *, unserved: bool) -> Iterator[str]:
    oldest = seen.oldest_due_seconds
    if oldest is not None and oldest > alarm_oldest:
        yield f"the oldest due mail has been waiting for {duration(oldest)}, longer than {duration(alarm_oldest)}"
    if seen.due_now and unserved:
        dead = next((worker for worker in seen.workers if not worker.alive), None)
        last = f"; {dead.host} pid {dead.pid} was last heard of {duration(dead.heartbeat_age)} ago" if dead else ""
        yield f"mail is due and no worker is alive{last}: start `outbox-sender`"
    for transport in seen.transports:
        if transport.state != "closed":
            yield _transport_problem(transport)
    for name, number in seen.foreign.items():
        yield (
            f"{_about(number, FOREIGN_SEEN)} due mail of environment {name!r}, which no worker sends; ours is "
            f"{environment!r}: is this a copy of another database, or is OUTBOX_ENVIRONMENT wrong?"
        )


def _transport_problem(transport: Transport) -> str:
    probe = transport.next_probe_seconds
    parts = [f"transport {transport.name} is {transport.state}"]
    if transport.since:
        parts.append(f" since {transport.since}")
    if transport.error:
        parts.append(f": {transport.error}")
    if probe is not None:
        parts.append(f" (next probe in {duration(max(0.0, probe))})")
    return "".join(parts)


def _notes(seen: Status) -> Iterator[str]:
    if seen.suppressed:
        yield "MAIL_SUPPRESS_SEND is on: mail is recorded and nothing is sent"
    uncertain = seen.states[State.UNCERTAIN]
    if uncertain:
        yield (
            f"{_about(uncertain, seen.count_cap)} uncertain mail waits for a person: "
            "`outbox-mark-sent` or `outbox-requeue`, after a look at the recipient's side"
        )


def _about(number: int, cap: int) -> str:
    return f"more than {cap}" if number > cap else str(number)


def _count(connection: sa.Connection, cap: int, *where: sa.ColumnElement[bool]) -> int:
    inner = sa.select(DELIVERY.c.id).where(*where).limit(cap + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def _sent(connection: sa.Connection, cap: int, seconds: float) -> int:
    return _count(connection, cap, DELIVERY.c.finished_at >= DbNow(-seconds), DELIVERY.c.state == State.SENT.value)


def _oldest_due(connection: sa.Connection, now: datetime, lane: Lane) -> float | None:
    """Seconds since the oldest due mail of the lane came due, by the index: its two slots, each at its head."""
    ages = []
    for retry in (False, True):
        due_at = connection.execute(
            sa.select(DELIVERY.c.due_at)
            .where(DELIVERY.c.lane == lane.slot(retry=retry), DELIVERY.c.due_at <= DbNow())
            .order_by(DELIVERY.c.due_at)
            .limit(1)
        ).scalar()
        if due_at is not None:
            ages.append(max(0.0, (now - due_at).total_seconds()))
    return max(ages, default=None)


def _workers(connection: sa.Connection, now: datetime, dead_after: float) -> list[Worker]:
    rows = connection.execute(
        sa.select(WORKER)
        .where(WORKER.c.stopped_at.is_(None), WORKER.c.heartbeat_at >= DbNow(-max(DAY, dead_after)))
        .order_by(WORKER.c.heartbeat_at.desc())
        .limit(WORKERS_SHOWN)
    ).all()
    workers = []
    for row in rows:
        age = max(0.0, (now - row.heartbeat_at).total_seconds())
        workers.append(
            Worker(
                id=row.id,
                host=row.host,
                pid=row.pid,
                version=row.version,
                environment=row.environment,
                connections=row.connections,
                started_at=row.started_at,
                uptime=max(0.0, (now - row.started_at).total_seconds()),
                heartbeat_age=age,
                alive=age <= dead_after,
                health=row.health if isinstance(row.health, dict) else {},
            )
        )
    return sorted(workers, key=lambda worker: (not worker.alive, worker.host, worker.pid))


def _transports(worker: Worker) -> Iterator[Transport]:
    """What the worker says of its transports: one (`transport`), or a list of them (`transports`)."""
    said = worker.health.get("transports", worker.health.get("transport"))
    for one in said if isinstance(said, list) else [said]:
        if isinstance(one, dict):
            probe = one.get("next_probe_seconds")
            yield Transport(
                name=str(one.get("name", "?")),
                state=str(one.get("state", "?")),
                since=one.get("since"),
                error=one.get("error"),
                next_probe_seconds=float(probe) if isinstance(probe, int | float) else None,
                worker_id=worker.id,
            )


def _failures(connection: sa.Connection) -> list[FailureGroup]:
    recent = (
        sa.select(
            sa.func.coalesce(
                DELIVERY.c.enhanced, sa.cast(DELIVERY.c.code, sa.String(11)), DELIVERY.c.reason, "?"
            ).label("error"),
            DELIVERY.c.domain,
            DELIVERY.c.finished_at,
            DELIVERY.c.reply,
        )
        .where(DELIVERY.c.state == State.FAILED.value, DELIVERY.c.finished_at >= DbNow(-DAY))
        .order_by(DELIVERY.c.id.desc())
        .limit(FAILURES_SEEN)
        .subquery()
    )
    number = sa.func.count().label("number")
    rows = connection.execute(
        sa.select(
            recent.c.error,
            recent.c.domain,
            number,
            sa.func.min(recent.c.finished_at).label("first"),
            sa.func.max(recent.c.finished_at).label("last"),
            sa.func.max(recent.c.reply).label("reply"),
        )
        .group_by(recent.c.error, recent.c.domain)
        .order_by(number.desc(), recent.c.error, recent.c.domain)
        .limit(FAILURE_GROUPS)
    )
    return [FailureGroup(row.error, row.domain, row.number, row.first, row.last, row.reply) for row in rows]


def _unserved(connection: sa.Connection, served: set[str]) -> dict[str, int]:
    """Due mail by environment that no worker serves: at the heads of the index, and what a worker has just refused.

    A refused delivery is due again within a minute (`queue.REFUSAL_SECONDS`), so both places together find it.
    """
    found: dict[str, set[int]] = {}
    for lane in Lane:
        for slot in (lane.slot(retry=False), lane.slot(retry=True)):
            for order in (DELIVERY.c.due_at.asc(), DELIVERY.c.due_at.desc()):
                head = (
                    sa.select(DELIVERY.c.id, DELIVERY.c.message_id)
                    .where(DELIVERY.c.lane == slot, DELIVERY.c.due_at <= DbNow(60.0))
                    .order_by(order)
                    .limit(FOREIGN_SEEN)
                    .subquery()
                )
                rows = connection.execute(
                    sa.select(head.c.id, MESSAGE.c.environment)
                    .select_from(head.join(MESSAGE, head.c.message_id == MESSAGE.c.id))
                    .where(MESSAGE.c.environment.not_in(sorted(served)))
                )
                for row in rows:
                    found.setdefault(row.environment, set()).add(row.id)
    return {name: len(ids) for name, ids in sorted(found.items())}
