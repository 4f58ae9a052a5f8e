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

from outbox.dialect import DbNow, skip_locked
from outbox.errors import DamagedMessageError
from outbox.message import Blob
from outbox.models import (
    OutboxAttempt,
    OutboxBlob,
    OutboxDelivery,
    OutboxMessage,
    OutboxMessageBlob,
    OutboxWorker,
    table_of,
)
from outbox.reply import Result
from outbox.states import Lane, OnUncertain, State

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)
_attempt = table_of(OutboxAttempt)
_worker = table_of(OutboxWorker)
_part = table_of(OutboxMessageBlob)

REFUSAL_SECONDS = 60.0
"""How long a delivery of another environment is left alone before a worker looks at it (and complains) again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the worker needs it."""

    pk: int
    message_id: str
    environment: str
    kind: str | None
    envelope_from: str
    size: int  # bytes
    smtputf8: bool
    mail_options: tuple[str, ...]
    rcpt_options: tuple[str, ...]
    on_uncertain: OnUncertain
    created_at: datetime
    expires_in: float | None  # seconds from the claim, by the database's clock; None: never
    skeleton: bytes
    parts: tuple[tuple[int, str], ...]  # (offset in the skeleton, digest of the blob)


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
    """A delivery that belongs to another environment and was left queued."""

    id: int
    message_id: str
    environment: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be recorded of one claimed delivery."""

    claimed: Claimed
    state: State
    delay: float | None  # seconds until due again; None with QUEUED: due as it was before the claim
    counted: bool  # costs an attempt
    suspected: bool  # adds to `rescues`
    reason: str | None
    note: str | None
    result: Result | None  # None: given back untried
    transport: str | None = None


class Queue:
    """One worker's view of the queue. Safe to use from several threads."""

    def __init__(self, engine: Engine, *, environment: str, lease: float) -> None:
        """`lease`: seconds that a claim holds."""
        self._engine = engine
        self._dialect = engine.dialect.name
        self._environment = environment
        self._lease = lease

    def register(self, *, host: str, pid: int, version: str, connections: int) -> int:
        """Write this worker's row; its id goes into every claim."""
        with self._engine.begin() as connection:
            inserted = connection.execute(
                _worker.insert().values(
                    host=host,
                    pid=pid,
                    version=version,
                    environment=self._environment,
                    connections=connections,
                    started_at=DbNow(),
                    heartbeat_at=DbNow(),
                )
            )
            return int(cast(Any, inserted.inserted_primary_key)[0])

    def beat(self, worker_id: int, health: dict[str, Any]) -> None:
        """Say that the worker lives, and how it fares."""
        with self._engine.begin() as connection:
            connection.execute(
                _worker.update()
                .where(_worker.c.id == worker_id)
                .values(heartbeat_at=DbNow(), stopped_at=None, health=health)
            )

    def retire(self, worker_id: int) -> None:
        """Say that the worker has ended in good order."""
        with self._engine.begin() as connection:
            connection.execute(_worker.update().where(_worker.c.id == worker_id).values(stopped_at=DbNow()))

    def claim(self, worker_id: int, token: int, limit: int) -> tuple[list[Claimed], list[Refused]]:
        """Lease up to `limit` due deliveries: new mail of the high lane first, the others by their share."""
        with self._engine.begin() as connection:
            rows = self._due(connection, limit)
            if not rows:
                return [], []
            messages = self._messages(connection, {row.message_id for row in rows})
            foreign = [row for row in rows if messages[row.message_id].environment != self._environment]
            mine = [row for row in rows if messages[row.message_id].environment == self._environment]
            self._set_aside(connection, foreign)
            self._lease_rows(connection, [row.id for row in mine], worker_id, token)
        claimed = [
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
            for row in mine
        ]
        refused = [
            Refused(row.id, messages[row.message_id].message_id, messages[row.message_id].environment)
            for row in foreign
        ]
        return claimed, refused

    def blob(self, digest: str) -> Blob:
        """A big part. Raises DamagedMessageError where it is gone."""
        with self._engine.connect() as connection:
            data = connection.execute(sa.select(OutboxBlob.data).where(OutboxBlob.digest == digest)).scalar()
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

    def record(self, worker_id: int, outcomes: Sequence[Outcome], *, repeated: bool = False) -> set[int]:
        """Write what became of claimed deliveries, all in one transaction; returns the ids whose lease was lost.

        `repeated`: an earlier call with these outcomes ended without an answer. What it committed is found by its
        attempt's token and left alone.
        """
        outcomes = sorted(outcomes, key=lambda outcome: outcome.claimed.id)
        if not repeated and self._record_held(worker_id, outcomes):
            return set()
        return self._record_one_by_one(worker_id, outcomes)

    def _record_held(self, worker_id: int, outcomes: Sequence[Outcome]) -> bool:
        """The way that is nearly always right: all leases are held. False, and nothing written, where one is not."""
        with self._engine.connect() as connection:
            if self._write_states(connection, outcomes) != len(outcomes):
                return False  # leaving the block rolls back
            self._write_attempts(connection, worker_id, [o for o in outcomes if o.result is not None], lost=set())
            connection.commit()
            return True

    def _record_one_by_one(self, worker_id: int, outcomes: Sequence[Outcome]) -> set[int]:
        """The careful way: see first, under lock, which leases are held and what is already written."""
        with self._engine.begin() as connection:
            tokens = self._tokens(connection, [outcome.claimed.id for outcome in outcomes])
            written = self._attempts_written(connection, outcomes)
            fresh = [o for o in outcomes if (o.claimed.id, o.claimed.token) not in written]
            held = [o for o in fresh if tokens.get(o.claimed.id, 0) == o.claimed.token]
            lost = {o.claimed.id for o in fresh} - {o.claimed.id for o in held}
            self._write_states(connection, held)
            tried = [o for o in fresh if o.result is not None and o.claimed.id in tokens]
            self._write_attempts(connection, worker_id, tried, lost=lost)
        return lost

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
            inner = sa.select(_delivery.c.id).where(_delivery.c.due_at <= DbNow()).limit(10_000).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())

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
            found += connection.execute(
                skip_locked(
                    sa.select(*columns)
                    .where(_delivery.c.lane == slot, _delivery.c.due_at <= DbNow())
                    .order_by(_delivery.c.due_at)
                    .limit(room),
                    self._dialect,
                )
            ).all()
        return found

    def _messages(self, connection: sa.Connection, ids: Iterable[int]) -> dict[int, Stored]:
        ids = sorted(ids)
        parts: dict[int, list[tuple[int, str]]] = {}
        for part in connection.execute(
            sa.select(_part.c.message_id, _part.c.skeleton_offset, _part.c.digest)
            .where(_part.c.message_id.in_(ids))
            .order_by(_part.c.message_id, _part.c.position)
        ):
            parts.setdefault(part.message_id, []).append((part.skeleton_offset, part.digest))
        rows = connection.execute(sa.select(_message, DbNow().label("now")).where(_message.c.id.in_(ids)))
        return {row.id: _stored(row, tuple(parts.get(row.id, ()))) for row in rows}

    def _set_aside(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> None:
        if rows:
            connection.execute(
                _delivery.update()
                .where(_delivery.c.id.in_(sorted(row.id for row in rows)))
                .values(
                    state=State.QUEUED,
                    token=None,
                    worker_id=None,
                    due_at=DbNow(REFUSAL_SECONDS),
                    updated_at=DbNow(),
                    reason="environment",
                )
            )

    def _lease_rows(self, connection: sa.Connection, ids: Sequence[int], worker_id: int, token: int) -> None:
        if ids:
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

    def _tokens(self, connection: sa.Connection, ids: Sequence[int]) -> dict[int, int | None]:
        statement = sa.select(_delivery.c.id, _delivery.c.token).where(_delivery.c.id.in_(ids)).order_by(_delivery.c.id)
        if self._dialect != "sqlite":
            statement = statement.with_for_update(key_share=self._dialect == "postgresql")
        return {row.id: row.token for row in connection.execute(statement)}

    def _attempts_written(self, connection: sa.Connection, outcomes: Sequence[Outcome]) -> set[tuple[int, int]]:
        rows = connection.execute(
            sa.select(_attempt.c.delivery_id, _attempt.c.token).where(
                _attempt.c.delivery_id.in_([o.claimed.id for o in outcomes if o.result is not None]),
                _attempt.c.token.in_({o.claimed.token for o in outcomes}),
            )
        )
        return {(row.delivery_id, row.token) for row in rows}

    def _write_states(self, connection: sa.Connection, outcomes: Sequence[Outcome]) -> int:
        """How many rows were hit: fewer than outcomes where a lease was lost."""
        hit = 0
        shapes: dict[tuple[bool, ...], list[Outcome]] = {}
        for outcome in outcomes:  # one executemany for each shape of statement
            shape = (outcome.state is State.QUEUED, outcome.delay is None, outcome.result is None)
            shapes.setdefault(shape, []).append(outcome)
        for (queued, undelayed, untried), group in shapes.items():
            values: dict[str, Any] = {
                "state": sa.bindparam("b_state"),
                "token": None,
                "worker_id": None,
                "marked_at": None,
                "lane": sa.bindparam("b_lane"),
                "attempts": _delivery.c.attempts + sa.bindparam("b_counted"),
                "rescues": _delivery.c.rescues + sa.bindparam("b_suspected"),
                "due_at": None,
                "reason": sa.bindparam("b_reason"),
                "updated_at": DbNow(),
                "finished_at": None if queued else DbNow(),
            }
            if queued:
                values["due_at"] = (
                    sa.bindparam("b_due", type_=_delivery.c.due_at.type)
                    if undelayed
                    else DbNow(sa.bindparam("b_delay", type_=sa.Float()))
                )
            if not untried:
                values |= {name: sa.bindparam(f"b_{name}") for name in ("code", "enhanced", "reply")}
            hit += connection.execute(
                _delivery.update()
                .where(_delivery.c.id == sa.bindparam("b_id"), _delivery.c.token == sa.bindparam("b_token"))
                .values(values),
                [_state_row(outcome) for outcome in group],
            ).rowcount
        return hit

    def _write_attempts(
        self, connection: sa.Connection, worker_id: int, outcomes: Sequence[Outcome], *, lost: set[int]
    ) -> None:
        if outcomes:
            rows = [_attempt_row(o, worker_id, fenced=o.claimed.id in lost) for o in outcomes]
            connection.execute(_attempt.insert().values(at=DbNow()), rows)


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


def _stored(row: sa.Row[Any], parts: tuple[tuple[int, str], ...]) -> Stored:
    options = row.options or {}
    return Stored(
        pk=row.id,
        message_id=row.message_id,
        environment=row.environment,
        kind=row.kind,
        envelope_from=row.envelope_from,
        size=row.size,
        smtputf8=row.smtputf8,
        mail_options=tuple(options.get("mail", ())),
        rcpt_options=tuple(options.get("rcpt", ())),
        on_uncertain=OnUncertain(row.on_uncertain),
        created_at=row.created_at,
        expires_in=None if row.expires_at is None else (row.expires_at - row.now).total_seconds(),
        skeleton=bytes(row.skeleton),
        parts=parts,
    )


def _state_row(outcome: Outcome) -> dict[str, Any]:
    claimed = outcome.claimed
    row: dict[str, Any] = {
        "b_id": claimed.id,
        "b_token": claimed.token,
        "b_state": outcome.state,
        "b_lane": claimed.slot | (outcome.counted and outcome.state is State.QUEUED),
        "b_counted": int(outcome.counted),
        "b_suspected": int(outcome.suspected),
        "b_reason": outcome.reason,
    }
    if outcome.state is State.QUEUED:
        row |= {"b_due": claimed.due_at} if outcome.delay is None else {"b_delay": outcome.delay}
    if outcome.result is not None:
        reply = outcome.result.reply
        row |= {"b_code": reply.code, "b_enhanced": reply.enhanced, "b_reply": reply.text[:1000]}
    return row


def _attempt_row(outcome: Outcome, worker_id: int, *, fenced: bool) -> dict[str, Any]:
    result = cast(Result, outcome.result)  # only what was tried has an attempt
    return {
        "delivery_id": outcome.claimed.id,
        "worker_id": worker_id,
        "token": outcome.claimed.token,
        "transport": outcome.transport,
        "phase": result.phase,
        "verdict": result.verdict,
        "code": result.reply.code,
        "enhanced": result.reply.enhanced,
        "reply": result.reply.text[:1000],
        "relay_id": result.relay_id[:255] if result.relay_id else None,
        "duration": result.duration,
        "counted": outcome.counted,
        "fenced": fenced,
        "note": outcome.note[:255] if outcome.note else None,
    }


def _chunks(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
