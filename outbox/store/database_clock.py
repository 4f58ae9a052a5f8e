"""Whether the database's clock was stepped, and how to repair what was written by the clock as it was before.

Leases, heartbeats and due times are in the database's time. Stepped forward, every lease looks run out, and mail that
is under way would be claimed a second time; stepped back, mail that was due is due in an hour, and a dead worker looks
alive for as long.

Known limits: a worker that starts in the seconds between a step and the other workers' next heartbeat has nothing to
compare with. Times that an application asked for (`send_at`, `expires_at`) are left as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from outbox.core.clock import Steps
from outbox.delivery.states import Lane, State
from outbox.store.models import OutboxDelivery, table_of
from outbox.store.types import DbNow

TOLERANCE_SECONDS = 5.0
"""A difference that is no step: of clocks that are put right little by little, and of a slow answer."""

_EVER, _NEVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_RETRIES = [lane.slot(retry=True) for lane in Lane]

_delivery = table_of(OutboxDelivery)


class DatabaseClock:
    """The database's clock, seen from this process's monotonic one. For several threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._steps = Steps(TOLERANCE_SECONDS)
        self._lock = threading.Lock()
        self._unrepaired = 0.0
        self._began = monotonic()
        self._stepped: float | None = None

    def look(self, connection: sa.Connection) -> float:
        """Seconds by which the clock was stepped since it was last repaired; 0.0: it was not."""
        began = self._monotonic()
        now = connection.execute(sa.select(DbNow())).scalar_one()
        with self._lock:
            ended = self._monotonic()
            step = self._steps.saw(now.timestamp(), began, ended)
            if step:
                self._stepped = ended
                self._unrepaired += step
            return self._unrepaired

    def latest(self) -> datetime:
        """What the clock can't be past by now unless it was stepped, or the step is not yet repaired."""
        with self._lock:
            offset = self._steps.latest
            if offset is None:
                return _NEVER
            seconds = offset + self._monotonic() - max(0.0, self._unrepaired) + TOLERANCE_SECONDS
        return datetime.fromtimestamp(seconds, UTC)

    def earliest(self) -> datetime:
        """What the clock can't be before by now unless it was stepped back, or the step is not yet repaired."""
        with self._lock:
            offset = self._steps.earliest
            if offset is None:
                return _EVER
            seconds = offset + self._monotonic() - min(0.0, self._unrepaired) - TOLERANCE_SECONDS
        return datetime.fromtimestamp(seconds, UTC)

    def repaired(self, step: float) -> None:
        """What `look` told is put right, durably."""
        with self._lock:
            self._unrepaired -= step

    def since_step(self) -> float | None:
        """Seconds since the latest step that was noticed; None: there was none."""
        with self._lock:
            return None if self._stepped is None else self._monotonic() - self._stepped

    def watched(self) -> float:
        """Seconds that this process has been at it."""
        return self._monotonic() - self._began


def written_ahead(connection: sa.Connection) -> bool:
    """Whether the newest mail was written by a clock ahead of this one: on SQLite each process has its own."""
    newest = sa.select(_delivery.c.updated_at > DbNow(TOLERANCE_SECONDS)).order_by(_delivery.c.id.desc()).limit(1)
    return bool(connection.execute(newest).scalar())


def repair(connection: sa.Connection, step: float, lease: float) -> None:
    """Put right what was written before a step of `step` seconds; `lease`: seconds that a claim holds.

    Leases begin again; mail that was due, or waited for its next attempt, is due now. A second run changes nothing.
    """
    if step > 0:
        leased_before = _delivery.c.updated_at < DbNow(-(step - TOLERANCE_SECONDS / 2))
        _set_due(connection, lease, leased(), leased_before)
        return
    ahead = _delivery.c.updated_at > DbNow(TOLERANCE_SECONDS / 2)
    was_due, retried = _delivery.c.due_at <= _delivery.c.updated_at, _delivery.c.lane.in_(_RETRIES)
    _set_due(connection, lease, leased(), ahead)
    _set_due(connection, 0.0, _delivery.c.state == State.QUEUED, ahead, sa.or_(was_due, retried))
    _set_due(connection, 0.0, _delivery.c.state == State.SENDING, ahead, was_due)


def leased() -> sa.ColumnElement[bool]:
    """Whether a worker may hold a delivery: what was rescued from one is due since, and nobody looks after it."""
    return sa.and_(_delivery.c.state == State.SENDING, _delivery.c.due_at > _delivery.c.updated_at)


def _set_due(connection: sa.Connection, seconds: float, *where: sa.ColumnElement[bool]) -> None:
    changed = _delivery.update().where(*where)
    connection.execute(changed.values(due_at=DbNow(seconds), updated_at=DbNow()))
