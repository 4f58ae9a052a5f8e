"""How the outbox fares: one look that costs the same however much mail there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.operations.due import count_to, look_at_due
from outbox.operations.failures import DAY, failures
from outbox.operations.health import Status, Transport, Worker, drain_seconds, notes, problems
from outbox.operations.tables import DELIVERY, MESSAGE, WORKER
from outbox.pauses import Held, active
from outbox.states import Lane, State

COUNT_CAP = 100_000
"""Where counting stops: a count that says one more means "more than this"."""

FOREIGN_SEEN = 200
"""Rows looked at, at each end of what is due in each index range, for mail that nobody serves."""
WORKERS_SHOWN = 100
SPANS = (60.0, 3_600.0, DAY)
ENDS = (State.SENT, State.FAILED)


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
    living = [worker for worker in workers if worker.alive]
    transports = [transport for worker in living for transport in _transports(worker, now)]
    paused = active(connection, now)
    due = look_at_due(connection, now, Held.by(paused, {one.name for one in transports}), count_cap)
    due_now = min(sum(due.free.values()), count_cap + 1)
    unserved = _unserved(connection, {worker.environment for worker in living})
    ours = unserved.pop(environment, 0)
    sent, failed = ({span: _ended(connection, count_cap, state, span) for span in SPANS} for state in ENDS)
    seen = Status(
        at=now,
        states={state: count_to(connection, count_cap, DELIVERY.c.state == state.value) for state in State},
        due_now=due_now,
        held=due.held,
        oldest_due_seconds=max((age for age in due.oldest.values() if age is not None), default=None),
        oldest_due_by_lane=due.oldest,
        workers=workers,
        transports=transports,
        sent_last_minute=sent[60.0],
        sent_last_hour=sent[3_600.0],
        sent_last_day=sent[DAY],
        failed_last_minute=failed[60.0],
        failed_last_hour=failed[3_600.0],
        failed_last_day=failed[DAY],
        drain_seconds=drain_seconds(due_now, sent[60.0], sent[3_600.0]),
        pauses=paused,
        failures=failures(connection),
        foreign=unserved,
        suppressed=suppressed or any(worker.health.get("suppressed") is True for worker in living),
        count_cap=count_cap,
    )
    seen.problems.extend(problems(seen, alarm_oldest=alarm_oldest, environment=environment, unserved=ours > 0))
    seen.notes.extend(notes(seen))
    return seen


def _ended(connection: sa.Connection, cap: int, state: State, seconds: float) -> int:
    return count_to(connection, cap, DELIVERY.c.finished_at >= DbNow(-seconds), DELIVERY.c.state == state.value)


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
                per_second=_number(row.health, "per_second") if isinstance(row.health, dict) else None,
            )
        )
    return sorted(workers, key=lambda worker: (not worker.alive, worker.host, worker.pid))


def _transports(worker: Worker, now: datetime) -> Iterator[Transport]:
    """What the worker said of its relays at its last heartbeat."""
    said = worker.health.get("transport")
    for one in said if isinstance(said, list) else [said]:
        if isinstance(one, dict):
            since, probe = _number(one, "since_seconds"), _number(one, "next_probe_seconds")
            yield Transport(
                name=str(one.get("name")),
                state=str(one.get("state")),
                since=None if since is None else now - timedelta(seconds=since + worker.heartbeat_age),
                error=str(one["error"]) if one.get("error") else None,
                next_probe_seconds=None if probe is None else max(0.0, probe - worker.heartbeat_age),
                worker_id=worker.id,
            )


def _number(said: dict[str, Any], name: str) -> float | None:
    value = said.get(name)
    return float(value) if isinstance(value, int | float) else None


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
