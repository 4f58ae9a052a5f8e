"""What monitoring reads of the database: a look whose cost is bounded, however much mail there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.delivery.states import Lane, State
from outbox.operations.alarms import Alarms
from outbox.operations.due import Due, look_at_due
from outbox.operations.event_log import lately, suppressed
from outbox.operations.failures import count_deferred
from outbox.operations.problems import Kind
from outbox.operations.rates import RateUse
from outbox.operations.reported_shares import ReportedShare
from outbox.operations.slowed import SlowedMail
from outbox.operations.status import status
from outbox.operations.tables import DELIVERY, WORKER
from outbox.operations.transports import transports_said, up_or_down
from outbox.store.held import Held
from outbox.store.types import DbNow

GAUGE_CAP = 50_000
"""Where counting stops."""

HEARTBEATS_SHOWN = 100

_DAY = 86_400.0
_WAITING = (State.FAILED, State.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker that has not shut down cleanly."""

    id: int
    host: str
    pid: int
    environment: str
    age: float  # seconds
    alive: bool
    transports: tuple[tuple[str, str], ...]  # (host:port, "up" or "down"), as the worker said last


@dataclass(frozen=True, slots=True)
class Gauges:
    """Each count goes up to GAUGE_CAP."""

    depth: dict[tuple[State, Lane], int]  # of the live states
    due: dict[Lane, int]  # and not paused
    oldest_due: dict[Lane, float]  # seconds; 0 where nothing is due, or all of it is paused
    paused: int  # due and paused
    pauses: int
    unresolved: dict[State, int]  # what waits for a person
    deferred: int  # wait for their next attempt
    heartbeats: list[Heartbeat]
    events: dict[tuple[EventType, str], int]  # what was reported in the last day, by type and source
    suppressions: int  # in force
    reported: list[ReportedShare]  # what was complained about and bounced, of what was sent
    oldest_effect: dict[str, float]  # seconds since the oldest that is not done was recorded, by name
    effects: dict[tuple[str, str], int]  # what handlers and webhooks are still to do, by name and state
    problems: dict[Kind, int]  # how many of each kind `outbox-status` would tell
    rates: list[RateUse]  # that were used within a day
    slowed: list[SlowedMail]


def database_time(connection: sa.Connection) -> datetime:
    """The one clock by which mail is due."""
    return connection.execute(sa.select(DbNow())).scalar_one()


def gauges(
    connection: sa.Connection,
    *,
    dead_after: float,
    cap: int = GAUGE_CAP,
    alarms: Alarms = Alarms(),  # noqa: B008 - frozen
    environment: str = "",
) -> Gauges:
    """Look once. `dead_after`: seconds without heartbeat after which a worker counts as dead; the rest: as `status`."""
    seen = status(
        connection, dead_after=dead_after, alarms=alarms, environment=environment, count_cap=cap, counts=False
    )
    now = database_time(connection)
    sending = _sending(connection, cap)
    heartbeats = _heartbeats(connection, now, dead_after)
    due = Due(seen.due_by_lane, seen.held, seen.oldest_due_by_lane)
    if seen.pauses != seen.our_pauses:  # those of other environments hold mail back as well
        names = {name for one in heartbeats if one.alive for name, _ in one.transports}
        due = look_at_due(connection, now, Held.by(seen.pauses, names), cap)
    live = {lane: _count(connection, cap, *_of(lane), DELIVERY.c.due_at.is_not(None)) for lane in Lane}
    return Gauges(
        depth={(State.QUEUED, lane): max(0, live[lane] - sending[lane]) for lane in Lane}
        | {(State.SENDING, lane): sending[lane] for lane in Lane},
        due={lane: min(number, cap) for lane, number in due.free.items()},
        oldest_due={lane: due.oldest[lane] or 0.0 for lane in Lane},
        paused=min(due.held, cap),
        pauses=len(seen.pauses),
        unresolved={state: _count(connection, cap, DELIVERY.c.state == state.value) for state in _WAITING},
        deferred=min(count_deferred(connection, cap), cap),
        heartbeats=heartbeats,
        events=lately(connection, cap, _DAY),
        reported=seen.reported,
        suppressions=min(suppressed(connection, cap), cap),
        oldest_effect={one.name: one.oldest_seconds for one in seen.effects},
        effects={
            (one.name, state): number
            for one in seen.effects
            for state, number in (("waiting", one.waiting), ("failing", one.failing), ("given_up", one.given_up))
        },
        problems={kind: seen.problem_kinds.count(kind) for kind in Kind},
        rates=seen.rates,
        slowed=seen.slowed,
    )


def _of(lane: Lane) -> tuple[sa.ColumnElement[bool], ...]:
    return (DELIVERY.c.lane.in_([lane.slot(retry=False), lane.slot(retry=True)]),)


def _count(connection: sa.Connection, cap: int, *where: sa.ColumnElement[bool]) -> int:
    inner = sa.select(sa.literal(1).label("one")).select_from(DELIVERY).where(*where).limit(cap).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def _sending(connection: sa.Connection, cap: int) -> dict[Lane, int]:
    """What is leased is as much as the workers can carry: few."""
    leased = sa.select(DELIVERY.c.lane).where(DELIVERY.c.state == State.SENDING.value).limit(cap).subquery()
    rows = connection.execute(sa.select(leased.c.lane, sa.func.count().label("number")).group_by(leased.c.lane)).all()
    return {
        lane: sum(row.number for row in rows if row.lane in (lane.slot(retry=False), lane.slot(retry=True)))
        for lane in Lane
    }


def _heartbeats(connection: sa.Connection, now: datetime, dead_after: float) -> list[Heartbeat]:
    rows = connection.execute(
        sa.select(WORKER)
        .where(WORKER.c.stopped_at.is_(None), WORKER.c.heartbeat_at >= DbNow(-max(_DAY, dead_after)))
        .order_by(WORKER.c.heartbeat_at.desc())
        .limit(HEARTBEATS_SHOWN)
    )
    found = []
    for row in rows:
        age = max(0.0, (now - row.heartbeat_at).total_seconds())
        alive = age <= (row.dead_after or dead_after)
        found.append(Heartbeat(row.id, row.host, row.pid, row.environment, age, alive, _transports(row.health)))
    return found


def _transports(health: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(one.get("name")), up_or_down(one)) for one in transports_said(health))
