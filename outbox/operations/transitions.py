"""What a person may do to mail: requeue, cancel, mark as sent. What a worker holds (`sending`) is never touched.

Each change is a conditional UPDATE: a row that went to another state meanwhile is left alone and not counted. Each
leaves one row in the audit: `by` is who does it, `note` why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.delivery.retry import Reason
from outbox.delivery.states import State, sources
from outbox.message.digest import ERASED
from outbox.operations import along_batch
from outbox.operations.audit import Trail
from outbox.operations.filters import Filter, by_id, clauses, in_span
from outbox.operations.hits import source
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.store.databases import of
from outbox.store.transports import let_go
from outbox.store.types import DbNow

BATCH = 1_000
"""Rows changed in one statement, and in one transaction of `in_batches`."""

LARGE = 100
"""A requeue of more deliveries at once goes out at a pace."""

_HEARD_SECONDS = 1.5  # until they are due: workers look once a second whether something is to go at a pace

ACTIONS = {State.QUEUED: "requeue", State.CANCELLED: "cancel", State.SENT: "mark-sent"}
"""What a change is called, by the state it leads to."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction changed: ids of deliveries."""

    changed: Sequence[int]
    uncertain: Sequence[int] = ()  # could not be cancelled, because they may have been sent already


def requeue(
    connection: sa.Connection, wanted: Filter, *, by: str, note: str | None = None, limit: int | None = None
) -> int:
    """Send what failed, is uncertain or was cancelled: due at once, all its attempts before it. How many.

    Mail whose time had run out loses its expiry date (for all recipients of the message): a person wants it sent. Mail
    whose body was redacted is left alone: there is nothing to send. Raises ValueError for an empty filter.
    """
    return sum(_changed(connection, wanted, State.QUEUED, _trail(wanted, State.QUEUED, by, note), limit))


def cancel(
    connection: sa.Connection, wanted: Filter, *, by: str, note: str | None = None, limit: int | None = None
) -> int:
    """Take back what is queued and not held by a worker, and give up what failed. How many.

    What may have been sent already (`on_uncertain="hold"`, the final dot sent under a lease that was lost) becomes
    uncertain instead. Raises ValueError for an empty filter.
    """
    return sum(_changed(connection, wanted, State.CANCELLED, _trail(wanted, State.CANCELLED, by, note), limit))


def mark_sent(
    connection: sa.Connection, wanted: Filter, *, by: str, note: str | None = None, limit: int | None = None
) -> int:
    """Note that failed or uncertain mail did arrive. How many. Raises ValueError for an empty filter."""
    return sum(_changed(connection, wanted, State.SENT, _trail(wanted, State.SENT, by, note), limit))


def in_batches(
    engine: sa.Engine, wanted: Filter, target: State, *, by: str, note: str | None = None
) -> Iterator[Batch]:
    """Take what matches to `target` in a transaction for each BATCH, so that nobody waits long; what each changed.

    What a worker puts back among the matching ones meanwhile is not taken a second time.
    """
    eligible_ = eligible(wanted, target)
    trail = _trail(wanted, target, by, note)
    last: int | None = 0
    while eligible_ is not None and last is not None:
        with engine.begin() as connection:
            last, batch = _step(connection, eligible_, target, trail, last, BATCH)
        yield batch


def eligible(wanted: Filter, target: State) -> Filter | None:
    """`wanted` without what may not go to `target` by a person's hand; None if nothing can be left.

    `find` and `count` of it are the preview of the change. Raises ValueError for an empty filter.
    """
    if wanted.is_empty:
        raise ValueError("an empty filter matches all mail: name ids or say what to look for")
    by_hand = [state for state in sources(target, suppressed=wanted.is_suppressed) if state is not State.SENDING]
    states = tuple(state for state in by_hand if not wanted.states or state in wanted.states)
    if not states:
        return None
    return replace(wanted, states=states, redacted=False if target is State.QUEUED else wanted.redacted)


def _trail(wanted: Filter, target: State, by: str, note: str | None) -> Trail:
    return Trail(ACTIONS[target], by=by, filters=str(wanted), note=note)


def _changed(
    connection: sa.Connection, wanted: Filter, target: State, trail: Trail, limit: int | None
) -> Iterator[int]:
    eligible_ = eligible(wanted, target)
    last: int | None = 0
    while eligible_ is not None and last is not None and (limit is None or limit > 0):
        size = BATCH if limit is None else min(limit, BATCH)
        last, batch = _step(connection, eligible_, target, trail, last, size)
        changed = len(batch.changed) + len(batch.uncertain)
        if limit is not None:
            limit -= changed
        yield changed


def _step(
    connection: sa.Connection, wanted: Filter, target: State, trail: Trail, after: int, size: int
) -> tuple[int | None, Batch]:
    """Change the next `size` that match, by id; the last id looked at (None: no more) and what was changed."""
    rows = next_matching(connection, wanted, after, size)
    able: list[sa.ColumnElement[bool]] = [DELIVERY.c.state.in_([str(state) for state in wanted.states])]
    if target is State.QUEUED:
        able.append(DELIVERY.c.recipient != ERASED)
    still = locked(connection, rows, *able)
    held = [row.id for row in still if target is State.CANCELLED and _may_be_sent(row)]
    changed = [row.id for row in still if row.id not in set(held)]
    delay = _HEARD_SECONDS if len(changed) > LARGE else 0.0
    for ids, values in ((held, _held_values()), (changed, _values(target, delay))):
        if ids:
            connection.execute(DELIVERY.update().where(DELIVERY.c.id.in_(ids)).values(values))
    if changed and target is State.QUEUED:
        let_live(connection, {row.message_id for row in still})
        if delay and after == 0:
            let_go(connection, delay)
    trail.add(connection, len(still), [row.id for row in still])
    return (rows[-1].id if len(rows) == size else None), Batch(changed, held)


def next_matching(connection: sa.Connection, wanted: Filter, after: int, size: int) -> Sequence[Any]:
    """(id, message_id) of the next `size` that match behind the id `after`.

    The ids are read before a change: an UPDATE that searches by itself would, on MariaDB, lock all that it looks at.
    """
    where, order = [*clauses(wanted), *in_span(wanted, after + 1, None)], by_id(wanted, oldest_first=True)
    if wanted.batch and len(wanted.states) == 1:
        batch_pk = along_batch.only_one(connection, wanted.batch, wanted.environment)
        if batch_pk is not None:
            where = along_batch.behind(connection, batch_pk, wanted.states[0], after)
            where += clauses(replace(wanted, batch=None, states=()))
            order = along_batch.ORDER
    columns = sa.select(DELIVERY.c.id, DELIVERY.c.message_id).select_from(source(wanted))
    return connection.execute(columns.where(*where).order_by(*order).limit(size)).all()


def locked(connection: sa.Connection, rows: Sequence[Any], *still: sa.ColumnElement[bool]) -> Sequence[Any]:
    """Those of `rows` for which `still` holds, by id; nobody else changes them until the transaction ends."""
    if not rows:
        return []
    columns = DELIVERY.c.id, DELIVERY.c.message_id, DELIVERY.c.state, DELIVERY.c.marked_at
    statement = sa.select(*columns).where(DELIVERY.c.id.in_([row.id for row in rows]), *still).order_by(DELIVERY.c.id)
    return connection.execute(of(connection).lock(statement)).all()


def _may_be_sent(row: Any) -> bool:
    """Mail that a relay may have already is not cancelled: nobody can know whether it was sent."""
    return row.state == State.QUEUED and row.marked_at is not None


def _held_values() -> dict[str, Any]:
    return _values(State.UNCERTAIN) | {"marked_at": DELIVERY.c.marked_at, "reason": Reason.UNKNOWN.value}


def _values(target: State, delay: float = 0.0) -> dict[str, Any]:
    if target is State.QUEUED:
        return requeued() | ({"due_at": DbNow(delay)} if delay else {})
    return {
        "state": target.value,
        "due_at": None,
        "marked_at": None,
        "reason": Reason.BY_HAND.value,
        "updated_at": DbNow(),
        "finished_at": DbNow(),
    }


_OF_ITS_ADDRESS = (Reason.SUPPRESSION.value, Reason.REFUSED.value)
"""Whoever requeues what ended so wants it sent although its address is suppressed."""


def requeued() -> dict[str, Any]:
    """The columns of a delivery that is sent as if it were new."""
    return {
        "state": State.QUEUED.value,
        "due_at": DbNow(),
        "lane": DELIVERY.c.lane - DELIVERY.c.lane % 2,  # `Lane.slot`: among the new mail, not the retries
        "attempts": 0,
        "rescues": 0,
        "deferrals": 0,
        "marked_at": None,
        # before the reason: MariaDB would see the new one
        "unsuppressed": sa.or_(DELIVERY.c.unsuppressed, sa.func.coalesce(DELIVERY.c.reason, "").in_(_OF_ITS_ADDRESS)),
        "reason": None,
        "worker_id": None,
        "updated_at": DbNow(),
        "finished_at": None,
    }


def let_live(connection: sa.Connection, message_pks: set[int], at: datetime | None = None) -> None:
    """Without this the worker would fail what has expired by the time that it is due, now or `at`."""
    due: Any = DbNow() if at is None else sa.literal(at, MESSAGE.c.expires_at.type)
    connection.execute(
        MESSAGE.update()
        .where(MESSAGE.c.id.in_(sorted(message_pks)), MESSAGE.c.expires_at <= due)
        .values(expires_at=None)
    )
