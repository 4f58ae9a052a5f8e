"""The rates that a relay takes, as its throttles have shown: known to all workers by the row of the transport.

They change with a throttle only, so they are written seldom, and read with the transport's health.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.delivery.adaptive import Pace, throttled
from outbox.store.databases import of
from outbox.store.models import OutboxWorker, table_of
from outbox.store.transport_model import OutboxTransport
from outbox.store.types import DbNow, utc

MOST_SCOPES = 50
"""Domains of one transport that are slowed at once; of more those that were throttled last."""

_ALIVE_SECONDS = 60.0
_NUMBERS = [field.name for field in fields(Pace)]

_transport = table_of(OutboxTransport)
_worker = table_of(OutboxWorker)


@dataclass(frozen=True, slots=True)
class Slowed:
    """Mail that goes by a lower rate."""

    pace: Pace  # moments in seconds since 1970, by the database's clock
    reply: str  # that of the last throttle, after its phase
    began: float  # when it was lowered first, in seconds since 1970


class Report(NamedTuple):
    """What one worker has met. Messages a second."""

    hits: int
    offered: float
    accepted: float
    reply: str


def slowed_by(said: Any) -> dict[str, Slowed]:
    """What the column of a row says, by scope: a domain, or "" for all of the transport's mail."""
    found = {}
    for scope, one in (said if isinstance(said, dict) else {}).items():
        try:
            pace = Pace(**{name: one[name] for name in _NUMBERS})
            found[scope] = Slowed(pace, str(one["reply"]), float(one.get("began", pace.since)))
        except (KeyError, TypeError):  # another version's
            continue
    return found


class Paces:
    """Those of one environment. Thread-safe. All raise DatabaseError."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self._engine = engine
        self._environment = environment
        self._database = of(engine)

    def throttled(self, name: str, reports: Mapping[str, Report]) -> tuple[dict[str, Slowed], float] | None:
        """Take what a worker has met, by scope: what holds from now on, and the database's time in seconds. None:
        somebody holds the row of the transport, or there is none."""
        with self._engine.begin() as connection:
            row = self._locked(connection, name)
            if row is None:
                return None
            known, now = slowed_by(row.paces), utc(row.now).timestamp()
            workers = 1 if all(scope in known for scope in reports) else self._workers(connection)
            for scope, one in reports.items():
                before = known.get(scope)
                pace = throttled(
                    before.pace if before is not None else None,
                    now,
                    offered=one.offered * workers,
                    accepted=one.accepted * workers,
                    hits=one.hits,
                )
                lasts = before is not None and before.pace.at(now) is not None
                known[scope] = Slowed(pace, one.reply, before.began if before is not None and lasts else now)
            known = _lasting(known, now)
            self._write(connection, name, known)
            return known, now

    def _rows(self, name: str) -> sa.Select[Any]:
        ours = (_transport.c.environment == self._environment, _transport.c.name == name)
        return sa.select(_transport.c.paces, DbNow().label("now")).where(*ours)

    def _locked(self, connection: sa.Connection, name: str) -> Any:
        return connection.execute(self._database.skip_locked(self._rows(name))).first()

    def _workers(self, connection: sa.Connection) -> int:
        """How many there are, each of which knows only of its own mail."""
        alive = _worker.c.stopped_at.is_(None), _worker.c.heartbeat_at > DbNow(-_ALIVE_SECONDS)
        count = sa.select(sa.func.count()).select_from(_worker)
        return max(1, connection.execute(count.where(_worker.c.environment == self._environment, *alive)).scalar_one())

    def _write(self, connection: sa.Connection, name: str, known: Mapping[str, Slowed]) -> None:
        said = {
            scope: {**asdict(one.pace), "reply": one.reply[:300], "began": one.began} for scope, one in known.items()
        }
        ours = (_transport.c.environment == self._environment, _transport.c.name == name)
        connection.execute(_transport.update().where(*ours).values(paces=said or None))


def _lasting(known: Mapping[str, Slowed], now: float) -> dict[str, Slowed]:
    """Without those whose limit is gone."""
    left = [(scope, one) for scope, one in known.items() if one.pace.at(now) is not None]
    return dict(sorted(left, key=lambda entry: -max(entry[1].pace.since, entry[1].pace.hit_at))[:MOST_SCOPES])
