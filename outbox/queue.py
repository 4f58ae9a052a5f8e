"""The hot SQL: enqueue in the caller's transaction; claim, mark, record, release and rescue in short ones of our own.

Every later write on a claimed delivery carries the lease's token: a row that is not hit was taken over by another
worker, and is never overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.dialect import DbNow, latest, skip_locked
from outbox.errors import DamagedMessageError
from outbox.message import Blob
from outbox.models import OutboxBlob, OutboxDelivery, OutboxMessage, OutboxWorker, table_of
from outbox.pauses import Held, Hold, Pause, active
from outbox.states import Lane, State
from outbox.stored import Stored, read_messages

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)
_worker = table_of(OutboxWorker)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery under lease."""

    id: int
    token: int
    recipient: str
    slot: int  # `Lane.slot`
    due_at: datetime  # when it was due before the claim
    attempts: int
    rescues: int
    rescued: bool  # an earlier lease of it was lost
    marked: bool  # by that earlier lease, right before the final dot
    message: Stored


@dataclass(frozen=True, slots=True)
class Refused:
    """A due delivery that belongs to another environment, and is left alone."""

    id: int
    message_id: str
    environment: str


class Queue:
    """One worker's view of the queue. Safe to use from several threads."""

    def __init__(self, engine: Engine, *, environment: str, lease: float) -> None:
        """`lease`: seconds that a claim holds."""
        self._engine = engine
        self._dialect = engine.dialect.name
        self._environment = environment
        self._lease = lease
        stamp = sa.select(_message.c.environment).where(_message.c.id == _delivery.c.message_id).scalar_subquery()
        # one look by primary key for each row; an EXISTS might be turned into a scan of all messages
        self._mine = sa.func.coalesce(stamp, environment) == environment
        self._hold = Hold()
        self._rows: dict[int, dict[str, Any]] = {}  # of the workers registered here
        self._busy = False  # the last claim found something: the next one need not look first

    def register(self, *, host: str, pid: int, version: str, connections: int) -> int:
        """Write this worker's row; its id goes into every claim."""
        values = {
            "host": host,
            "pid": pid,
            "version": version,
            "environment": self._environment,
            "connections": connections,
            "started_at": DbNow(),
            "heartbeat_at": DbNow(),
        }
        with self._engine.begin() as connection:
            inserted = connection.execute(_worker.insert().values(**values))
            worker_id = int(cast(Any, inserted.inserted_primary_key)[0])
        self._rows[worker_id] = values
        return worker_id

    def beat(self, worker_id: int, health: dict[str, Any]) -> None:
        """Say that the worker lives, and how it fares; a row that was purged is written again, under its id."""
        with self._engine.begin() as connection:
            beaten = connection.execute(
                _worker.update()
                .where(_worker.c.id == worker_id)
                .values(heartbeat_at=DbNow(), stopped_at=None, health=health)
            )
            if not beaten.rowcount and worker_id in self._rows:
                connection.execute(_worker.insert().values(**self._rows[worker_id], id=worker_id, health=health))

    def retire(self, worker_id: int) -> None:
        """Say that the worker has ended in good order."""
        with self._engine.begin() as connection:
            connection.execute(_worker.update().where(_worker.c.id == worker_id).values(stopped_at=DbNow()))

    def pauses(self) -> list[Pause]:
        """Those in force now."""
        with self._engine.connect() as connection:
            return active(connection)

    def hold(self, held: Held) -> bool:
        """Leave these alone from the next claim on. False: as it is already. Not beside a claim."""
        if held == self._hold.held:
            return False
        self._hold = Hold(held)
        return True

    def claim(self, worker_id: int, token: int, limit: int) -> list[Claimed]:
        """Lease up to `limit` due deliveries: new mail of the high lane first, the others by their share.

        Mail of another environment is passed over and left as it is: its own workers may be at work beside this one.
        """
        if self._hold.held.everything:
            return []
        with self._engine.begin() as connection, self._hold.claiming(connection):
            look = self._busy or self._hold.searches or self._any_due(connection)
            rows = self._due(connection, limit) if look else []
            self._busy = bool(rows)
            if not rows:
                return []
            messages = read_messages(connection, {row.message_id for row in rows}, self._environment)
            self._lease_rows(connection, [row.id for row in rows], worker_id, token)
        return [
            Claimed(
                id=row.id,
                token=token,
                recipient=row.recipient,
                slot=row.lane,
                due_at=row.due_at,
                attempts=row.attempts,
                rescues=row.rescues + (row.state == State.SENDING),
                rescued=row.state == State.SENDING,
                marked=row.marked_at is not None,
                message=messages[row.message_id],
            )
            for row in rows
        ]

    def refused(self, limit: int = 10) -> list[Refused]:
        """Due deliveries of other environments, `limit` at the most."""
        columns = (_delivery.c.id, _message.c.message_id, _message.c.environment)
        due = _due_now().with_only_columns(*columns).join(_message, _message.c.id == _delivery.c.message_id)
        with self._engine.connect() as connection:
            rows = connection.execute(due.where(_message.c.environment != self._environment).limit(limit))
            return [Refused(*row) for row in rows]

    def disown(self, worker_id: int, token: int) -> int:
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

    def blob(self, digest: str) -> Blob:
        """A big part. Raises DamagedMessageError where it is gone."""
        with self._engine.connect() as connection:
            statement = sa.select(OutboxBlob.data).where(OutboxBlob.digest == digest)
            data = connection.execute(latest(statement, self._dialect)).scalar()
        if data is None:
            raise DamagedMessageError(f"blob {digest} is missing: was outbox_blob purged by hand, or restored in part?")
        return Blob(bytes(data))

    def mark(self, claimed: Claimed) -> bool:
        """Write durably that the final dot of `claimed` may be sent from now on. False: the lease was lost."""
        with self._engine.begin() as connection:
            marked = connection.execute(
                _delivery.update()
                .where(_delivery.c.id == claimed.id, _delivery.c.token == claimed.token)
                .values(marked_at=DbNow())
            )
            return marked.rowcount == 1

    def rescue(self, *, dead_after: float) -> list[int]:
        """Make due at once what workers hold whose heartbeat is older than `dead_after` seconds; their ids."""
        stale = sa.and_(_worker.c.stopped_at.is_(None), _worker.c.heartbeat_at < DbNow(-dead_after))
        with self._engine.connect() as connection:
            if not connection.execute(sa.select(_worker.c.id).where(stale).limit(1)).first():
                return []
        with self._engine.begin() as connection:
            dead = list(connection.execute(skip_locked(sa.select(_worker.c.id).where(stale), self._dialect)).scalars())
            if dead:
                held = list(
                    connection.execute(
                        skip_locked(
                            sa.select(_delivery.c.id)
                            .where(_delivery.c.state == State.SENDING, _delivery.c.worker_id.in_(dead))
                            .order_by(_delivery.c.id),
                            self._dialect,
                        )
                    ).scalars()
                )
                for ids in _chunks(held, 1000):
                    connection.execute(_delivery.update().where(_delivery.c.id.in_(ids)).values(due_at=DbNow()))
                connection.execute(_worker.update().where(_worker.c.id.in_(dead)).values(stopped_at=DbNow()))
        return dead

    def due(self) -> int:
        """How many deliveries are due now, counted to 10,000 at most."""
        with self._engine.connect() as connection:
            inner = _due_now().limit(10_000).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())

    def _any_due(self, connection: sa.Connection) -> bool:
        """One look instead of one for each lane: what an idle worker does twice a second."""
        return connection.execute(_due_now().where(self._mine).limit(1)).first() is not None

    def _due(self, connection: sa.Connection, limit: int) -> list[sa.Row[Any]]:
        columns = [
            _delivery.c[name]
            for name in ("id", "message_id", "recipient", "lane", "due_at", "attempts", "rescues", "state", "marked_at")
        ]
        found: list[sa.Row[Any]] = []
        for slot, share in _shares(limit):
            room = min(share, limit - len(found))
            if room <= 0:
                continue
            conditions = (_delivery.c.lane == slot, _delivery.c.due_at <= DbNow(), *self._hold.conditions(slot))
            rows = connection.execute(
                skip_locked(
                    sa.select(*columns).where(*conditions, self._mine).order_by(_delivery.c.due_at).limit(room),
                    self._dialect,
                )
            ).all()
            self._hold.looked(slot, rows)
            found += rows
        return found

    def _lease_rows(self, connection: sa.Connection, ids: Sequence[int], worker_id: int, token: int) -> None:
        connection.execute(
            _delivery.update()
            .where(_delivery.c.id.in_(sorted(ids)))
            .ordered_values(  # MariaDB takes them in their order: `rescues` must see the state before
                (
                    _delivery.c.rescues,
                    _delivery.c.rescues + sa.case((_delivery.c.state == State.SENDING, 1), else_=0),
                ),
                (_delivery.c.state, State.SENDING),
                (_delivery.c.token, token),
                (_delivery.c.worker_id, worker_id),
                (_delivery.c.due_at, DbNow(self._lease)),
                (_delivery.c.updated_at, DbNow()),
            )
        )


def _due_now() -> sa.Select[int]:
    slots = [slot for slot, _ in _shares(1)]  # named, so that the index serves: it begins with the lane
    return sa.select(_delivery.c.id).where(_delivery.c.lane.in_(slots), _delivery.c.due_at <= DbNow())


def _shares(limit: int) -> list[tuple[int, int]]:
    """(slot, most of it in one claim) in order: lower lanes and retries keep a share, so that none starves."""
    low = max(1, limit // 8)
    return [
        (Lane.HIGH.slot(retry=False), limit),
        (Lane.HIGH.slot(retry=True), max(low, limit // 4)),
        (Lane.NORMAL.slot(retry=False), max(1, limit - 3 * low)),
        (Lane.NORMAL.slot(retry=True), low),
        (Lane.BULK.slot(retry=False), limit),
        (Lane.BULK.slot(retry=True), limit),
    ]


def _chunks(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
