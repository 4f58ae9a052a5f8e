"""How the outbox fares: one look that costs the same however much mail there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.operations.health import FailureGroup, Status, Transport, Worker, notes, problems
from outbox.operations.tables import DELIVERY, MESSAGE, WORKER
from outbox.states import Lane, State

COUNT_CAP = 1_000_000
"""Where counting stops: a count that says one more means "more than this"."""

FAILURES_SEEN = 5_000
FAILURE_GROUPS = 10
FOREIGN_SEEN = 200
"""Rows looked at, at each end of what is due in each index range, for mail that nobody serves."""
WORKERS_SHOWN = 100
DAY = 86_400.0
SLOTS = [lane.slot(retry=retry) for lane in Lane for retry in (False, True)]


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
        due_now=_count(connection, count_cap, DELIVERY.c.lane.in_(SLOTS), DELIVERY.c.due_at <= DbNow()),
        oldest_due_seconds=max((age for age in by_lane.values() if age is not None), default=None),
        oldest_due_by_lane=by_lane,
        workers=workers,
        transports=[transport for worker in living for transport in _transports(worker, now)],
        sent_last_minute=_sent(connection, count_cap, 60.0),
        sent_last_hour=_sent(connection, count_cap, 3_600.0),
        sent_last_day=_sent(connection, count_cap, DAY),
        failures=_failures(connection),
        foreign=unserved,
        suppressed=suppressed or any(worker.health.get("suppressed") is True for worker in living),
        count_cap=count_cap,
    )
    seen.problems.extend(problems(seen, alarm_oldest=alarm_oldest, environment=environment, unserved=ours > 0))
    seen.notes.extend(notes(seen))
    return seen


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


def _transports(worker: Worker, now: datetime) -> Iterator[Transport]:
    """What the worker said of its relays at its last heartbeat."""
    said = worker.health.get("transport")
    for one in said if isinstance(said, list) else [said]:
        if isinstance(one, dict):
            since, probe = _seconds(one, "since_seconds"), _seconds(one, "next_probe_seconds")
            yield Transport(
                name=str(one.get("name")),
                state=str(one.get("state")),
                since=None if since is None else now - timedelta(seconds=since + worker.heartbeat_age),
                error=str(one["error"]) if one.get("error") else None,
                next_probe_seconds=None if probe is None else max(0.0, probe - worker.heartbeat_age),
                worker_id=worker.id,
            )


def _seconds(said: dict[str, Any], name: str) -> float | None:
    value = said.get(name)
    return float(value) if isinstance(value, int | float) else None


def _failures(connection: sa.Connection) -> list[FailureGroup]:
    """Among the newest FAILURES_SEEN: failed mail is never purged by itself, and may be many."""
    code = sa.cast(DELIVERY.c.code, sa.String(11))
    newest = (
        sa.select(
            sa.func.coalesce(DELIVERY.c.enhanced, code, DELIVERY.c.reason, "?").label("error"),
            DELIVERY.c.domain,
            DELIVERY.c.finished_at,
            DELIVERY.c.reply,
        )
        .where(DELIVERY.c.state == State.FAILED.value)
        .order_by(DELIVERY.c.id.desc())
        .limit(FAILURES_SEEN)
        .subquery()
    )
    number = sa.func.count().label("number")
    rows = connection.execute(
        sa.select(
            newest.c.error,
            newest.c.domain,
            number,
            sa.func.min(newest.c.finished_at).label("first"),
            sa.func.max(newest.c.finished_at).label("last"),
            sa.func.max(newest.c.reply).label("reply"),
        )
        .where(newest.c.finished_at >= DbNow(-DAY))
        .group_by(newest.c.error, newest.c.domain)
        .order_by(number.desc(), newest.c.error, newest.c.domain)
        .limit(FAILURE_GROUPS)
    )
    return [FailureGroup(row.error, row.domain, row.number, row.first, row.last, row.reply) for row in rows]


def _unserved(connection: sa.Connection, served: set[str]) -> dict[str, int]:
    """Due mail by environment that no worker serves: what a look at both ends of the due mail finds."""
    found: dict[str, set[int]] = {}
    for lane in Lane:
        for slot in (lane.slot(retry=False), lane.slot(retry=True)):
            for order in (DELIVERY.c.due_at.asc(), DELIVERY.c.due_at.desc()):
                head = (
                    sa.select(DELIVERY.c.id, DELIVERY.c.message_id)
                    .where(DELIVERY.c.lane == slot, DELIVERY.c.due_at <= DbNow())
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
