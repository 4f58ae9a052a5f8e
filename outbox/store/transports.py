"""What the workers of an environment know together of their transports: the health of each, and who probes.

Each worker reads the rows about once a second, and writes where a transport goes out of use, comes back, or is probed.
No wait for a row that somebody else has locked: what can't be read or written leaves each worker to its own knowledge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.delivery.breaker import LONGEST_PROBE_WAIT
from outbox.delivery.connection_shares import Share
from outbox.store.databases import of
from outbox.store.models import table_of
from outbox.store.paces import Paces, Slowed, slowed_by
from outbox.store.reading import reading
from outbox.store.shares import Shares, shares_of
from outbox.store.transport_model import OutboxTransport
from outbox.store.types import DbNow, utc

_transport = table_of(OutboxTransport)

_STEPPED_SECONDS = 2 * LONGEST_PROBE_WAIT  # nobody waits so long for a probe: the clock was set back

_RAMP_SECONDS = 3600.0  # later than any ramp


@dataclass(frozen=True, slots=True)
class Known:
    """One row. Times are in seconds, as of when it was read."""

    name: str
    down: bool
    error: str | None = None
    cause: str | None = None
    about: str | None = None
    probe_in: float = 0.0  # until the next probe may begin
    prober: int | None = None  # the worker whose probe is under way
    slowed: Mapping[str, Slowed] = field(default_factory=dict)  # by domain, "" for all of it
    now: float = 0.0  # by the database, since 1970
    shares: Mapping[int, Share] = field(default_factory=dict)  # of its connections, by worker
    ramped_ago: float | None = None  # since a backlog was let go, or will be; None: too long ago to matter, or never


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a transport is out of use, and when the next delivery may try it."""

    error: str
    cause: str
    about: str | None
    probe_in: float  # seconds


class Turn(Enum):
    """Whose the next probe is."""

    OURS = "ours"
    OTHERS = "others"  # or it is not time yet
    UNKNOWN = "unknown"  # the row is locked, or not there


class Transports:
    """The rows of one environment. Thread-safe. All raise DatabaseError."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self._engine = engine
        self._environment = environment
        self._database = of(engine)
        self.paces = Paces(engine, environment)
        self.shares = Shares(engine, environment)

    def read(self) -> dict[str, Known]:
        """All of them, by name."""
        statement = sa.select(_transport, DbNow().label("now")).where(_transport.c.environment == self._environment)
        with reading(self._engine) as connection:
            return {row.name: _known(row) for row in connection.execute(statement)}

    def add(self, *names: str) -> None:
        """Write the rows that are not there yet: up."""
        missing = sorted(set(names) - set(self.read()))
        if not missing:
            return
        rows = [{"environment": self._environment, "name": name, "state": "up", "since": DbNow()} for name in missing]
        with self._engine.begin() as connection:
            for row in rows:
                insert = self._database.insert_unless_there(_transport, ["environment", "name"])
                connection.execute(insert.values(row))

    def hasten(self, *names: str) -> None:
        """Let these be probed now, unless a probe is under way: a worker starts, perhaps after a repair."""
        waits = sa.and_(_transport.c.state == "down", _transport.c.probe_at > DbNow(), _transport.c.prober_id.is_(None))
        for name in names:
            self._change(name, waits, {"probe_at": DbNow()})

    def down(self, name: str, fault: Fault) -> bool:
        """It is out of use, or still is after a probe. False: somebody holds the row, or there is none."""
        is_down = _transport.c.state == "down"
        return self._change(
            name,
            sa.true(),
            {
                "since": sa.case((is_down, _transport.c.since), else_=DbNow()),
                "state": "down",
                "error": fault.error[:1100],
                "cause": fault.cause,
                "about": fault.about,
                "probe_at": DbNow(fault.probe_in),
                "prober_id": None,
            },
        )

    def up(self, name: str) -> bool:
        """It takes mail again. False: somebody holds the row, or there is none."""
        was_down = _transport.c.state == "down"
        return self._change(
            name,
            sa.true(),
            {
                "since": sa.case((was_down, DbNow()), else_=_transport.c.since),
                "ramped_at": sa.case((was_down, DbNow()), else_=_transport.c.ramped_at),
                "state": "up",  # after these: MariaDB would see the new one
                "error": None,
                "cause": None,
                "about": None,
                "probe_at": None,
                "prober_id": None,
            },
        )

    def take_probe(self, name: str, worker_id: int, hold: float) -> Turn:
        """Whether the next probe is this worker's; for `hold` seconds it is then nobody else's."""
        due = sa.or_(_transport.c.probe_at <= DbNow(), _transport.c.probe_at > DbNow(_STEPPED_SECONDS))
        taken = {"probe_at": DbNow(hold), "prober_id": worker_id}
        if self._change(name, sa.and_(_transport.c.state == "down", due), taken):
            return Turn.OURS
        row = self.read().get(name)
        return Turn.OTHERS if row is not None and (not row.down or row.probe_in > 0) else Turn.UNKNOWN

    def _change(self, name: str, where: sa.ColumnElement[bool], values: dict[str, Any]) -> bool:
        """Change a row that nobody holds."""
        ours = (_transport.c.environment == self._environment, _transport.c.name == name, where)
        with self._engine.begin() as connection:
            free = self._database.skip_locked(sa.select(_transport.c.name).where(*ours))
            if connection.execute(free).first() is None:
                return False
            changed = (
                _transport.update()
                .where(*ours)
                .ordered_values(*((_transport.c[key], value) for key, value in values.items()))
            )
            return bool(connection.execute(changed).rowcount)


def _known(row: Any) -> Known:
    probe_in = 0.0 if row.probe_at is None else max(0.0, (utc(row.probe_at) - utc(row.now)).total_seconds())
    return Known(
        row.name,
        down=row.state == "down",
        error=row.error,
        cause=row.cause,
        about=row.about,
        probe_in=probe_in if probe_in < _STEPPED_SECONDS else 0.0,
        prober=row.prober_id,
        slowed=slowed_by(row.paces),
        shares=shares_of(row.shares),
        ramped_ago=_ramped_ago(row),
        now=utc(row.now).timestamp(),
    )


def _ramped_ago(row: Any) -> float | None:
    ago = None if row.ramped_at is None else (utc(row.now) - utc(row.ramped_at)).total_seconds()
    return ago if ago is not None and -_RAMP_SECONDS < ago < _RAMP_SECONDS else None


def let_go(connection: sa.Connection, delay: float) -> None:
    """What is due in `delay` seconds goes at a pace: all workers begin again with one connection to each transport.

    Rows that somebody else holds are left alone: nobody waits for this.
    """
    free = of(connection).skip_locked(sa.select(_transport.c.environment, _transport.c.name))
    for environment, name in connection.execute(free).all():
        ours = _transport.c.environment == environment, _transport.c.name == name
        connection.execute(_transport.update().where(*ours).values(ramped_at=DbNow(delay)))
