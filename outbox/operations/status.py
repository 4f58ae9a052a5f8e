"""The state of the outbox: one look that costs the same however much mail there is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from outbox.delivery.hints import hint_for
from outbox.delivery.states import Lane, State
from outbox.operations import effects
from outbox.operations.alarms import Alarms
from outbox.operations.delays import late_now
from outbox.operations.digests import waiting
from outbox.operations.due import Due, count_to, look_at_due
from outbox.operations.event_log import by_type, lately, of_last_hour
from outbox.operations.event_log import suppressed as count_suppressed
from outbox.operations.failures import DAY, count_deferred, deferred, failures
from outbox.operations.growth import growing
from outbox.operations.health import Status, Transport, Worker
from outbox.operations.outcomes import outcomes, with_group
from outbox.operations.problems import Kind, lasting, notes, problems, worst
from outbox.operations.rates import rates
from outbox.operations.reported_shares import reported_shares
from outbox.operations.slowed import slowed
from outbox.operations.tables import DELIVERY, MESSAGE, WORKER, environments
from outbox.operations.transports import transports_said, up_or_down
from outbox.settings.transport_options import in_its_words
from outbox.store.databases import of
from outbox.store.held import Held
from outbox.store.pauses import EVERY, Pause, active
from outbox.store.types import DbNow

COUNT_CAP = 100_000
"""Where counting stops: a count that says one more means "more than this"."""

FOREIGN_SEEN = 200
"""Rows looked at, at each end of what is due in each index range, for mail that nobody serves."""
WORKERS_SHOWN = 100
DIGEST_CAP = 10_000
"""Items that are counted, of all digests."""

SPANS = (60.0, 3_600.0, DAY)
ENDS = (State.SENT, State.FAILED)
_CODE = re.compile(r"[2-5]\d\d\b")


def status(
    connection: sa.Connection,
    *,
    dead_after: float,
    alarms: Alarms = Alarms(),  # noqa: B008 - frozen
    environment: str = "",
    suppressed: bool = False,
    count_cap: int = COUNT_CAP,
    counts: bool = True,
) -> Status:
    """Look at everything once.

    `dead_after`: seconds without heartbeat after which a worker counts as dead, if its row names no limit. `alarms`:
    from where on something is a problem. `environment`: ours. `suppressed`: whether MAIL_SUPPRESS_SEND is on here.
    Without `counts` only what the problems rest on is looked at, and the other numbers are 0.
    """
    now = connection.execute(sa.select(DbNow())).scalar_one()
    workers = _workers(connection, now, dead_after)
    living = [worker for worker in workers if worker.alive]
    transports = [transport for worker in living for transport in _transports(worker, now)]
    names = {one.name for one in transports}
    paused = active(connection, now=now)
    effective = [one for one in paused if one.environment in (EVERY, environment)]
    held = Held.by(effective, names)
    due = look_at_due(connection, now, held, count_cap)
    due_now = min(sum(due.free.values()), count_cap + 1)
    unserved = _unserved(connection, {worker.environment for worker in living})
    ours = unserved.pop(environment, 0)
    shared = bool(environments(connection) - {environment})
    mine = environment if shared else None  # where all is ours, nothing need be looked up
    spans = SPANS if counts else SPANS[:-1]  # of the last day only the numbers are shown
    sent, failed = ({span: _ended(connection, count_cap, state, span) for span in spans} for state in ENDS)
    came_of, deferred_in = outcomes(connection, alarms.window, SPANS)
    too_many = worst(came_of, alarms)
    going = bool(living) and not held.everything and (not transports or any(one.state == "up" for one in transports))
    drain = drain_seconds(due_now, sent[60.0], sent[3_600.0]) if going else None
    seen = Status(
        at=now,
        states={
            state: count_to(connection, count_cap, DELIVERY.c.state == state.value) if counts else 0 for state in State
        },
        due_now=due_now,
        due_by_lane=due.free,
        held=due.held,
        oldest_due_seconds=max((age for age in due.oldest.values() if age is not None), default=None),
        oldest_due_by_lane=due.oldest,
        workers=workers,
        transports=transports,
        sent_last_minute=sent[60.0],
        sent_last_hour=sent[3_600.0],
        sent_last_day=sent.get(DAY, 0),
        failed_last_minute=failed[60.0],
        failed_last_hour=failed[3_600.0],
        failed_last_day=failed.get(DAY, 0),
        deferred=count_deferred(connection, count_cap) if counts else 0,
        deferred_last_minute=deferred_in[0],
        deferred_last_hour=deferred_in[1],
        deferred_last_day=deferred_in[2],
        outcomes=came_of if too_many is None else with_group(connection, came_of, refused=too_many is Kind.REFUSED),
        drain_seconds=drain,
        growing=_growing(connection, due_now, drain, alarms),
        pauses=paused,
        held_for_long=_held_for_long(connection, now, effective, names, due, count_cap, alarms),
        failures=failures(connection, environment=mine) if counts else [],
        deferred_groups=deferred(connection, environment=mine) if counts else [],
        foreign=unserved,
        suppressed=suppressed or any(worker.health.get("suppressed") is True for worker in living),
        environment=environment,
        shared=shared,
        count_cap=count_cap,
        rates=rates(connection, environment),
        slowed=slowed(connection, environment),
        events_last_hour={str(one): n for one, n in of_last_hour(connection, count_cap).items()} if counts else {},
        events_last_day={str(one): n for one, n in by_type(lately(connection, count_cap, DAY)).items()}
        if counts
        else {},
        suppressions=count_suppressed(connection, count_cap) if counts else 0,
        reported=reported_shares(connection, now, alarms.reports_seconds),
        effects=effects.counts(connection, environment, count_cap),
        digests=waiting(connection, environment, DIGEST_CAP),
        late=0 if alarms.delay is None else late_now(connection, environment, count_cap),
    )
    for problem in problems(seen, alarms, unserved=ours > 0):
        seen.problems.append(problem.words)
        seen.problem_kinds.append(problem.kind.value)
    seen.notes.extend(notes(seen))
    return seen


def drain_seconds(due: int, last_minute: int, last_hour: int) -> float | None:
    """Seconds until this many are sent; None if nothing is due or nothing was sent lately."""
    rate = last_minute / 60.0 or last_hour / 3_600.0
    return due / rate if due and rate else None


def _growing(connection: sa.Connection, due: int, drain: float | None, alarms: Alarms) -> bool:
    """Whether what is due grows faster than it goes; looked at only where it is much."""
    if drain is None or drain < alarms.drain or due < alarms.outcomes:
        return False
    return growing(connection, due, alarms.growing)


def _held_for_long(
    connection: sa.Connection,
    now: datetime,
    paused: list[Pause],
    names: set[str],
    due: Due,
    cap: int,
    alarms: Alarms,
) -> int:
    """How many are due and held by a person's pause that is not only for now."""
    long = [one for one in paused if lasting(one, alarms)]
    if not due.held or not long:
        return 0
    if len(long) == len(paused):
        return due.held
    return look_at_due(connection, now, Held.by(long, names), cap).held


def _ended(connection: sa.Connection, cap: int, state: State, seconds: float) -> int:
    return count_to(connection, cap, DELIVERY.c.finished_at >= DbNow(-seconds), DELIVERY.c.state == state.value)


def workers(connection: sa.Connection, *, dead_after: float) -> list[Worker]:
    """Those that have not shut down cleanly, alive or not, as `status` has them."""
    return _workers(connection, connection.execute(sa.select(DbNow())).scalar_one(), dead_after)


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
                alive=age <= (row.dead_after or dead_after),
                health=row.health if isinstance(row.health, dict) else {},
                per_second=_number(row.health, "per_second") if isinstance(row.health, dict) else None,
                asked=row.asked,
            )
        )
    return sorted(workers, key=lambda worker: (not worker.alive, worker.host, worker.pid))


def _transports(worker: Worker, now: datetime) -> Iterator[Transport]:
    """What the worker said of its relays at its last heartbeat."""
    for one in transports_said(worker.health):
        since, probe = _number(one, "since_seconds"), _number(one, "next_probe_seconds")
        error, ramp = _text(one, "error"), max(0.0, (_number(one, "ramp_seconds") or 0.0) - worker.heartbeat_age)
        name, address = str(one.get("name")), _text(one, "address")
        yield Transport(
            name=name,
            state=up_or_down(one),
            since=None if since is None else now - timedelta(seconds=since + worker.heartbeat_age),
            error=error,
            remedy=None if error is None else _remedy(name, address or name, error),
            next_probe_seconds=None if probe is None else max(0.0, probe - worker.heartbeat_age),
            worker_id=worker.id,
            about=_text(one, "about"),
            cause=_text(one, "cause"),
            connections=_whole(one, "connections"),
            connections_most=_whole(one, "connections_most"),
            connections_reply=_text(one, "connections_reply"),
            connections_share=_whole(one, "connections_share"),
            ramp_connections=None if ramp <= 0 else _whole(one, "ramp_connections") or 1,
            ramp_seconds=round(ramp, 1),
            address=address,
            soft_until=_text(one, "soft_bounce_until"),
        )


def _remedy(name: str, address: str, error: str) -> str | None:
    """What to do about `phase: reply`, as workers write it."""
    phase, _, reply = error.partition(": ")
    found = _CODE.match(reply)
    port = address.rpartition(":")[2]
    known = hint_for(
        phase,
        int(found[0]) if found else None,
        reply,
        port=int(port) if port.isascii() and port.isdigit() else None,
    )
    return known and in_its_words(known, name)


def _number(said: Mapping[str, Any], name: str) -> float | None:
    value = said.get(name)
    return float(value) if isinstance(value, int | float) else None


def _whole(said: Mapping[str, Any], name: str) -> int | None:
    value = _number(said, name)
    return None if value is None else int(value)


def _text(said: Mapping[str, Any], name: str) -> str | None:
    return str(said[name]) if said.get(name) else None


def _unserved(connection: sa.Connection, served: set[str]) -> dict[str, int]:
    """Due mail by environment that no worker serves: what a look at both ends of the due mail finds."""
    found: dict[str, set[int]] = {}
    for lane in Lane:
        for slot in (lane.slot(retry=False), lane.slot(retry=True)):
            for order in (sa.asc, sa.desc):
                head = (
                    sa.select(DELIVERY.c.id, DELIVERY.c.message_id)
                    .where(of(connection).begins_with(DELIVERY.c.lane, slot), DELIVERY.c.due_at <= DbNow())
                    .order_by(order(DELIVERY.c.lane), order(DELIVERY.c.due_at))
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
