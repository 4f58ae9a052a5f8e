"""The hot SQL: enqueue in the caller's transaction; claim, mark, record, release and rescue in short ones of our own.

Every later write on a claimed delivery carries the lease's token: a row that is not hit is another worker's by now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.core import clock
from outbox.core.events import logger
from outbox.core.sync import Flag
from outbox.delivery.states import State
from outbox.store import database_clock
from outbox.store.claim import Claims
from outbox.store.claim_sql import held_by
from outbox.store.claimed import Claimed
from outbox.store.connections import Connections
from outbox.store.contents import Contents
from outbox.store.databases import of
from outbox.store.due import Foreign, due_now, foreign
from outbox.store.failures import OUTAGES
from outbox.store.held import Held
from outbox.store.models import OutboxDelivery, OutboxMessage, OutboxWorker, new_id, table_of
from outbox.store.pauses import Pause, active
from outbox.store.rates import Rates
from outbox.store.reading import only_reading, reading
from outbox.store.suppressions import stopped
from outbox.store.types import DbNow

DUE_CAP = 10_000  # where `Queue.due` stops counting

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)
_worker = table_of(OutboxWorker)


class Queue:
    """One worker's view of the queue. Safe to use from several threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        environment: str,
        lease: float,
        wake: bool = False,
        transport: str | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
        seen: database_clock.DatabaseClock | None = None,  # as another queue watches it
        together: int = 1,  # as `Claims` has it
    ) -> None:
        """`lease`: seconds that a claim holds; `wake`: commits end `wait`; `transport`: which of several is to send."""
        self._engine = engine
        self._database = of(engine)
        self._environment = environment
        self._lease = lease
        self.clock = seen or database_clock.DatabaseClock(monotonic)
        self._connections = Connections(engine, listening=wake)
        self._claims = Claims(self._database, environment, lease, monotonic, self.clock.latest, transport, together)
        self.rates = Rates(engine, self._connections, environment)
        self.contents = Contents(engine)
        self._held = Held()
        self._rows: dict[int, dict[str, Any]] = {}  # of the workers registered here

    def register(self, *, host: str, pid: int, version: str, connections: int, dead_after: float | None = None) -> int:
        """Write this worker's row; its id goes into every claim.

        `dead_after`: seconds without a heartbeat after which it counts as dead; None: as the others' setting says.
        """
        values = {
            "host": host,
            "pid": pid,
            "version": version,
            "environment": self._environment,
            "connections": connections,
            "dead_after": dead_after,
            "started_at": DbNow(),
            "heartbeat_at": DbNow(),
        }
        with self._engine.begin() as connection:
            self.clock.look(connection)  # from now on a step is noticed
            inserted = connection.execute(_worker.insert().values(**values))
            worker_id = new_id(inserted)
        self._rows[worker_id] = values
        return worker_id

    def beat(self, worker_id: int, health: dict[str, Any]) -> float:
        """Report that the worker is alive, and its health; a row that was purged is written again, under its id.

        Returns the seconds by which the database's clock was stepped, 0.0 if it was not. What that has put out of order
        is repaired.
        """
        with self._engine.begin() as connection:
            if (step := self.clock.look(connection)) or database_clock.written_ahead(connection):
                database_clock.repair(connection, step, self._lease)
            beaten = connection.execute(
                _worker.update()
                .where(_worker.c.id == worker_id)
                .values(heartbeat_at=DbNow(), stopped_at=None, health=health)
            )
            if not beaten.rowcount and worker_id in self._rows:
                connection.execute(_worker.insert().values(**self._rows[worker_id], id=worker_id, health=health))
        self.clock.repaired(step)
        return step

    def asked(self, worker_id: int) -> str | None:
        """What a person asks of the worker: to "stop", or to "drain" and stop."""
        with reading(self._engine) as connection:
            return connection.execute(sa.select(_worker.c.asked).where(_worker.c.id == worker_id)).scalar()

    def retire(self, worker_id: int) -> None:
        """Report that the worker has shut down cleanly."""
        with self._engine.begin() as connection:
            connection.execute(_worker.update().where(_worker.c.id == worker_id).values(stopped_at=DbNow()))

    def pauses(self) -> list[Pause]:
        """Those in force now."""
        with reading(self._engine) as connection:
            return active(connection, self._environment)

    def hold(self, held: Held) -> None:
        """Leave these alone from the next claim on. Not beside a claim."""
        if held != self._held:
            self._held = held
            self._claims.pass_over(held.passed_over())

    def search(self, *, again: bool) -> None:
        """`again`: the next claim looks at all that is due, also at what one before has passed over. Thread-safe."""
        self._claims.search(again=again)

    def connected(self) -> AbstractContextManager[None]:
        """Within it the calling thread, the one that claims, keeps its connection."""
        return self._connections.pinned()

    def wait(self, flag: Flag, timeout: float) -> None:
        """Until `flag` is set, a commit is told of, or for `timeout` seconds. On the thread that claims."""
        self._connections.wait(flag, timeout)

    def claim(
        self,
        worker_id: int,
        token: int,
        limit: int,
        *,
        probe: bool = False,
        ids: Sequence[int] = (),
        whole: bool = False,
        exact: bool = False,
    ) -> list[Claimed]:
        """Lease up to `limit` due deliveries: new mail of the high lane first, the others by their share.
        `probe`: one, by the turns of probes (`lane_shares.Turns`). `ids`: of these alone. `whole` and `exact`: as
        `Claims.claim`.

        Mail of another environment is passed over. One that can't be read comes back as a message with `damage`.
        """
        if self._held.everything:
            return []
        if self._database.one_writer and self._claims.idle and not ids and not self.is_any(probe=probe):
            return []
        found = self._claim(worker_id, token, limit, probe=probe, ids=ids, whole=whole, exact=exact)
        if listed := [one.id for one in found if one.listed]:
            with self._connections.use() as connection, only_reading(connection):
                stops = stopped(connection, listed)
            for one in found:
                one.suppressed = stops.get(one.id)
        return found

    def _claim(
        self, worker_id: int, token: int, limit: int, *, probe: bool, ids: Sequence[int], whole: bool, exact: bool
    ) -> list[Claimed]:
        if not self._claims.at_once:
            with self._connections.use() as connection, connection.begin():
                return self._claims.claim(
                    connection, worker_id, token, limit, probe=probe, ids=ids, whole=whole, exact=exact
                )
        try:
            with self._connections.use() as connection:
                return self._claims.claim(
                    connection, worker_id, token, limit, probe=probe, ids=ids, whole=whole, exact=exact
                )
        except OUTAGES:
            raise
        except Exception as error:  # noqa: BLE001 - a row that can't be read fails the whole answer
            logger.error("a claim failed and is repeated row by row: %s", type(error).__name__)
            self.abandon_claim(worker_id, token)
            with self._engine.begin() as connection:
                return self._claims.claim(connection, worker_id, token, limit, carefully=True, probe=probe, ids=ids)

    def is_any(self, *, probe: bool = False) -> bool:
        """Whether the next claim may find something. On the thread that claims."""
        with self._connections.use() as connection, only_reading(connection):
            return not self._held.everything and self._claims.is_any(connection, probe=probe)

    def foreign(self, limit: int = 10) -> list[Foreign]:
        """Due deliveries of other environments, at most `limit`."""
        return foreign(self._engine, self._environment, limit)

    def abandon_claim(self, worker_id: int, token: int) -> int:
        """Undo a claim of this worker whose commit was not answered, if it took place after all; how many rows."""
        with self._engine.begin() as connection:
            return connection.execute(
                _delivery.update()
                .where(
                    _delivery.c.state == State.SENDING,
                    _delivery.c.worker_id == worker_id,
                    _delivery.c.token == token,
                )
                .values(state=State.QUEUED, token=None, worker_id=None, due_at=DbNow(), updated_at=DbNow())
            ).rowcount

    def mark(self, *claimed: Claimed) -> bool:
        """Write durably that the final dot of these, of one claim, may be sent. False: a lease was lost, none is."""
        ours = _delivery.c.id.in_(sorted(one.id for one in claimed)), _delivery.c.token == claimed[0].token
        with self._engine.connect() as connection, connection.begin() as marking:
            held = connection.execute(_delivery.update().where(*ours).values(marked_at=DbNow())).rowcount
            if held < len(claimed):
                marking.rollback()
        return held == len(claimed)

    def rescue(self, *, dead_after: float) -> list[int]:
        """Make due at once what workers of this environment hold that count as dead; their ids.

        Each by the limit that it asked for, one of a release that asks for none by `dead_after` seconds. After a step
        of the database's clock nobody is declared dead before all had the time to beat again.
        """
        stale = self._stale(dead_after)
        with reading(self._engine) as connection:
            if not (dead := list(connection.execute(sa.select(_worker.c.id).where(stale)).scalars())):
                return []
        self._release_permits(dead)
        with self._engine.begin() as connection:
            dead = list(connection.execute(self._database.skip_locked(sa.select(_worker.c.id).where(stale))).scalars())
            if not dead:
                return []
            held = held_by(dead).where(database_clock.leased())
            self._release(connection, dead, connection.execute(self._database.skip_locked(held)).all())
            # what a transaction of the dead one's own still locks is rescued once the database has ended that
            locked = set(connection.execute(held.with_only_columns(_delivery.c.worker_id)).scalars())
            gone = [one for one in dead if one not in locked]
            connection.execute(_worker.update().where(_worker.c.id.in_(gone)).values(stopped_at=DbNow()))
        return gone

    def _stale(self, dead_after: float) -> sa.ColumnElement[bool]:
        limit: sa.ColumnElement[float] = sa.func.coalesce(_worker.c.dead_after, sa.literal(dead_after, sa.Float()))
        late = _worker.c.heartbeat_at < DbNow(-limit)
        # whoever lives has beaten since this process watches: such a one died before a step back
        ahead = sa.and_(_worker.c.heartbeat_at > DbNow(limit), limit < self.clock.watched())
        mine = sa.and_(_worker.c.stopped_at.is_(None), _worker.c.environment == self._environment)
        stepped = self.clock.since_step()
        beaten_since = sa.true() if stepped is None else limit < stepped
        not_stepped_since = sa.and_(DbNow() < self.clock.latest(), DbNow() > self.clock.earliest())
        return sa.and_(mine, sa.or_(late, ahead), beaten_since, not_stepped_since)

    def release_leases(self, worker_id: int, *, for_good: bool) -> int:
        """Make due at once what a worker held whose process has ended; how many deliveries.

        To be called again `for_good` a moment later: the server may still finish a claim whose client is no more.
        """
        if for_good:
            self._release_permits([worker_id])
        with self._engine.begin() as connection:
            freed = self._release(connection, [worker_id], connection.execute(held_by([worker_id])).all())
            if for_good:
                connection.execute(_worker.update().where(_worker.c.id == worker_id).values(stopped_at=DbNow()))
            return freed

    def _release_permits(self, workers: Sequence[int]) -> None:
        """Before their leases, by which it is known what they may have sent."""
        try:
            self.rates.release_dead(workers)
        except Exception as error:  # noqa: BLE001 - they count as used then, and the mail does not wait for this
            logger.error("what dead workers held of a quota can't be given back: %s", type(error).__name__)

    def _release(self, connection: sa.Connection, workers: Sequence[int], held: Sequence[sa.Row[Any]]) -> int:
        """How many are due now; what somebody else has claimed since it was looked at is not touched."""
        freed = 0
        for rows in (held[start : start + 1000] for start in range(0, len(held), 1000)):
            leases = (
                _delivery.c.id.in_([row.id for row in rows]),
                _delivery.c.state == State.SENDING,
                _delivery.c.worker_id.in_(workers),
                _delivery.c.token.in_({row.token for row in rows}),
            )
            released = _delivery.update().where(*leases).values(due_at=DbNow(), updated_at=DbNow())
            freed += connection.execute(released).rowcount
        return freed

    def due(self) -> int:
        """How many deliveries are due now, counted to DUE_CAP at most."""
        with reading(self._engine) as connection:
            inner = due_now().limit(DUE_CAP).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())
