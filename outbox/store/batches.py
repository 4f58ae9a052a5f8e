"""A batch while it is being filled: its row, which keys it has already, and what a portion adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.delivery.batch_states import BatchState, CanaryState, canary_size
from outbox.store.batch_model import OutboxBatch
from outbox.store.databases import of
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.posting import HELD
from outbox.store.types import DbNow

_batch = table_of(OutboxBatch)
_message = table_of(OutboxMessage)
_delivery = table_of(OutboxDelivery)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch as the application describes it."""

    environment: str
    name: str
    kind: str | None = None
    expected: int | None = None  # messages
    canary_share: float | None = None  # None: it has no canary
    canary_limit: float = 0.1
    canary_wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Filling:
    """What a portion needs to know of its batch; its row is locked."""

    id: int
    state: BatchState
    deliveries: int
    canary: bool  # it has one that is not judged yet
    canary_size: int | None
    canary_to: int | None

    def held(self, before: int) -> bool:
        """Whether a message waits for the canary. `before`: how many deliveries of this portion precede it."""
        return self.canary and (self.canary_size is None or self.deliveries + before >= self.canary_size)


def begin(connection: sa.Connection, wanted: Wanted) -> int:
    """The id of the batch, which is made unless it is there."""
    canary = wanted.canary_share is not None
    size = None if wanted.expected is None else canary_size(wanted.canary_share or 0.0, wanted.expected)
    values = {
        "environment": wanted.environment,
        "name": wanted.name,
        "kind": wanted.kind,
        "state": BatchState.FILLING.value,
        "expected": wanted.expected,
        "canary": CanaryState.RUNNING.value if canary else None,
        "canary_share": wanted.canary_share,
        "canary_limit": wanted.canary_limit if canary else None,
        "canary_wait": wanted.canary_wait if canary else None,
        "canary_size": size if canary else None,
    }
    insert = of(connection).insert_unless_there(_batch, ("environment", "name"))
    connection.execute(insert.values(created_at=DbNow()), values)
    found = sa.select(_batch.c.id).where(_batch.c.environment == wanted.environment, _batch.c.name == wanted.name)
    id = int(connection.execute(found).scalar_one())
    connection.execute(_batch.update().where(_batch.c.id == id).values(refused=0))  # this run meets them again
    return id


def locked(connection: sa.Connection, id: int) -> Filling | None:
    """The batch, which nobody else changes until the transaction ends; None where it was purged."""
    row = connection.execute(of(connection).lock(sa.select(_batch).where(_batch.c.id == id))).first()
    if row is None:
        return None
    canary = row.canary in (CanaryState.RUNNING.value, CanaryState.FAILED.value)
    return Filling(row.id, BatchState(row.state), row.deliveries, canary, row.canary_size, row.canary_to)


def taken(connection: sa.Connection, environment: str, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that messages have already."""
    mine = sa.select(_message.c.key).where(_message.c.environment == environment, _message.c.key.in_(keys))
    return set(connection.execute(mine).scalars()) if keys else set()


def add(connection: sa.Connection, batch: Filling, *, messages: int, deliveries: int, refused: int) -> None:
    """A portion was written in this transaction: of so many."""
    values: dict[str, Any] = {
        "messages": _batch.c.messages + messages,
        "deliveries": _batch.c.deliveries + deliveries,
        "refused": _batch.c.refused + refused,
    }
    reached = batch.canary_size is not None and batch.deliveries + deliveries >= batch.canary_size
    if batch.canary and batch.canary_to is None and reached:
        values["canary_to"] = _last(connection, batch.id, _delivery.c.due_at < HELD)
    connection.execute(_batch.update().where(_batch.c.id == batch.id).values(values))


def fill(connection: sa.Connection, batch: Filling) -> None:
    """All of it is enqueued. Where nobody knew how much that would be, the canary goes now."""
    values: dict[str, Any] = {"state": BatchState.FILLED.value, "filled_at": DbNow()}
    if batch.canary and batch.canary_to is None:
        share = connection.execute(sa.select(_batch.c.canary_share).where(_batch.c.id == batch.id)).scalar_one()
        size = min(batch.canary_size or canary_size(share, batch.deliveries), batch.deliveries)
        first = sa.select(_delivery.c.id).where(_delivery.c.batch_id == batch.id).order_by(_delivery.c.id).limit(size)
        ids = list(connection.execute(first).scalars())
        values |= {"canary_size": size, "canary_to": ids[-1] if ids else None}
        values |= {} if ids else {"canary": CanaryState.RELEASED.value}
        release(connection, ids)
    connection.execute(_batch.update().where(_batch.c.id == batch.id).values(values))


def release(connection: sa.Connection, ids: Sequence[int]) -> None:
    """What of these waits for the canary is due now."""
    waits = (_delivery.c.id.in_(ids), _delivery.c.due_at == HELD)
    connection.execute(_delivery.update().where(*waits).values(due_at=DbNow(), updated_at=DbNow()))


def _last(connection: sa.Connection, id: int, which: sa.ColumnElement[bool]) -> int | None:
    return connection.execute(sa.select(sa.func.max(_delivery.c.id)).where(_delivery.c.batch_id == id, which)).scalar()
