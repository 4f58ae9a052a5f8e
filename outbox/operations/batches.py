"""Batches: how far each is, and cancelling one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.delivery.batch_states import BatchState, CanaryState
from outbox.delivery.states import LIVE, State
from outbox.operations import audit
from outbox.operations.filters import Filter
from outbox.operations.tables import BATCH, DELIVERY
from outbox.operations.transitions import Batch as Changed
from outbox.operations.transitions import in_batches
from outbox.store.databases import of
from outbox.store.pauses import Pause, What, active
from outbox.store.types import DbNow

COUNTED = 10_000
"""Deliveries of a batch that are counted when somebody looks; of more, what a worker has counted last is shown."""


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch."""

    id: int
    name: str
    environment: str
    kind: str | None
    state: BatchState
    messages: int  # enqueued
    deliveries: int
    refused: int  # items of which no message could be made
    expected: int | None  # messages, as the application said
    counts: dict[str, int]  # deliveries by state; those that were purged are in none
    counted_at: datetime | None  # None: just now
    created_at: datetime
    filled_at: datetime | None
    done_at: datetime | None
    canary: CanaryState | None
    canary_size: int | None  # deliveries that go first; None: not known yet
    canary_limit: float | None
    pause: Pause | None  # of this batch alone

    @property
    def live(self) -> int:
        """Deliveries that are queued or being sent."""
        return sum(self.counts.get(state.value, 0) for state in LIVE)

    @property
    def ended(self) -> int:
        """Deliveries that are not, purged ones among them."""
        return max(0, self.deliveries - self.live)

    @property
    def share_done(self) -> float | None:
        """The share of what is to be sent that has ended, from 0 to 1; None where nobody knows how much that is."""
        if self.done_at is not None:
            return 1.0
        if self.state is BatchState.FILLING:
            return None if not self.expected else min(self.ended / max(self.expected, self.deliveries), 1.0)
        return self.ended / self.deliveries if self.deliveries else 1.0


def named(connection: sa.Connection, name: str, environment: str, *, exact: bool = True) -> BatchRow | None:
    """The batch with this name; None if there is none. `exact`: counted now, however many its deliveries are."""
    row = connection.execute(sa.select(BATCH).where(BATCH.c.environment == environment, BATCH.c.name == name)).first()
    return None if row is None else _row(connection, row, _paused(connection), exact=exact)


def listed(
    connection: sa.Connection, environment: str | None, *, before: int | None = None, limit: int = 50
) -> list[BatchRow]:
    """The newest, newest first; with `before`, those with a smaller id. `environment`: None: of all."""
    statement = sa.select(BATCH).order_by(BATCH.c.id.desc()).limit(limit)
    if environment is not None:
        statement = statement.where(BATCH.c.environment == environment)
    if before is not None:
        statement = statement.where(BATCH.c.id < before)
    paused = _paused(connection)
    return [_row(connection, row, paused, exact=False) for row in connection.execute(statement).all()]


def names_of(connection: sa.Connection, message_pks: Sequence[int]) -> dict[int, str]:
    """By message (`Row.message_id`), the name of its batch; without those that belong to none."""
    joined = DELIVERY.join(BATCH, BATCH.c.id == DELIVERY.c.batch_id)
    rows = sa.select(DELIVERY.c.message_id, BATCH.c.name).select_from(joined)
    return {row.message_id: row.name for row in connection.execute(rows.where(DELIVERY.c.message_id.in_(message_pks)))}


def count(connection: sa.Connection, id: int) -> dict[str, int]:
    """Its deliveries by state."""
    rows = connection.execute(
        sa.select(DELIVERY.c.state, sa.func.count().label("number"))
        .where(DELIVERY.c.batch_id == id)
        .group_by(DELIVERY.c.state)
    )
    found = {row.state: int(row.number) for row in rows}
    return {state.value: found[state.value] for state in State if state.value in found}


def cancel(engine: sa.Engine, name: str, environment: str, *, by: str, note: str | None = None) -> Iterator[Changed]:
    """Add nothing more to a batch, and cancel what of it is queued, in a transaction for each thousand.

    What a worker is sending, was sent or failed stays. Raises LookupError where there is no such batch.
    """
    with engine.begin() as connection:
        wanted = sa.select(BATCH.c.id).where(BATCH.c.environment == environment, BATCH.c.name == name)
        id = connection.execute(of(connection).lock(wanted)).scalar()
        if id is None:
            raise LookupError(f"there is no batch {name!r}")
        ended: dict[str, Any] = {"filled_at": sa.func.coalesce(BATCH.c.filled_at, DbNow())}
        ended |= {"state": BatchState.CANCELLED.value}
        ended |= {"canary": sa.case((BATCH.c.canary.is_not(None), CanaryState.RELEASED.value))}
        connection.execute(BATCH.update().where(BATCH.c.id == id).values(ended))
        audit.write(connection, "cancel-batch", by=by, count=1, filters=f"batch={name}", note=note)
    yield from in_batches(engine, waiting(name, environment), State.CANCELLED, by=by, note=note)


def waiting(name: str, environment: str | None) -> Filter:
    """What of a batch is queued."""
    return Filter(batch=name, states=(State.QUEUED,), environment=environment)


def state_words(one: BatchRow) -> str:
    """Its state for people."""
    if one.canary is CanaryState.FAILED:
        return "stopped by its canary"
    if one.pause is not None and one.done_at is None and one.state is not BatchState.CANCELLED:
        return "paused"
    if one.canary is CanaryState.RUNNING and one.state is not BatchState.CANCELLED:
        return "canary"
    if one.state is BatchState.FILLED:
        return "sending" if one.done_at is None else "done"
    return one.state.value


def canary_words(one: BatchRow) -> str:
    """What of it went first, and what came of that."""
    size = "not known yet" if one.canary_size is None else f"the first {one.canary_size:,} deliveries"
    if one.canary is CanaryState.FAILED:
        return f"{size}: too many went wrong, the others wait for outbox-resume --batch"
    return size if one.canary is not CanaryState.RUNNING else f"{size}, the others wait for their end"


def share_words(one: BatchRow) -> str:
    """The share that is done, rounded down: 100 % is the end."""
    return "-" if one.share_done is None else f"{math.floor(100 * one.share_done)} %"


def _paused(connection: sa.Connection) -> dict[int, Pause]:
    """By the id of the batch."""
    return {id: one for one in active(connection) if one.what is What.BATCH for id in one.batch_ids}


def _row(connection: sa.Connection, row: Any, paused: Mapping[int, Pause], *, exact: bool) -> BatchRow:
    counted_at = None
    if exact or row.deliveries <= COUNTED or row.counts is None:
        counts = count(connection, row.id)
    else:
        counts, counted_at = dict(row.counts), row.counted_at
    return BatchRow(
        id=row.id,
        name=row.name,
        environment=row.environment,
        kind=row.kind,
        state=BatchState(row.state),
        messages=row.messages,
        deliveries=row.deliveries,
        refused=row.refused,
        expected=row.expected,
        counts=counts,
        counted_at=counted_at,
        created_at=row.created_at,
        filled_at=row.filled_at,
        done_at=row.done_at,
        canary=None if row.canary is None else CanaryState(row.canary),
        canary_size=row.canary_size,
        canary_limit=row.canary_limit,
        pause=paused.get(row.id),
    )
