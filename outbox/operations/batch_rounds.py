"""What workers do about batches by the clock: count them, finish them, and say once when one is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from outbox.delivery.batch_states import BatchState
from outbox.delivery.states import LIVE, State
from outbox.operations import canaries
from outbox.operations.batches import COUNTED, count, waiting
from outbox.operations.tables import BATCH, DELIVERY
from outbox.operations.transitions import in_batches
from outbox.store import effects
from outbox.store.reading import reading
from outbox.store.types import DbNow

COUNT_SHARE = 0.02
"""The most of its time that a worker spends on counting."""

MOST = 100
"""Batches that are looked at in one round."""

_BY = "worker"


@dataclass(slots=True)
class Rounds:
    """Those of one worker."""

    engine: sa.Engine
    environment: str
    retention: float  # seconds after the end of a batch until its row is removed, once all its mail is purged
    monotonic: Callable[[], float]
    _count_at: dict[int, float] = field(default_factory=dict)  # monotonic, by batch

    def run(self) -> list[str]:
        """One round; the names of the batches that this worker found done."""
        done = []
        for row in self._open():
            if row.state == BatchState.CANCELLED.value:
                for _ in in_batches(self.engine, waiting(row.name, self.environment), State.CANCELLED, by=_BY):
                    pass  # a command that was killed has left some
            if row.canary is not None:
                canaries.look(self.engine, row)
            if row.deliveries > COUNTED:
                self._count(row.id)
            if row.state != BatchState.FILLING.value and self._finish(row):
                done.append(row.name)
        return done

    def remove_old(self) -> int:
        """Remove the rows of batches that were done long ago and whose mail is gone; how many."""
        left = sa.exists().where(DELIVERY.c.batch_id == BATCH.c.id)
        old = (BATCH.c.environment == self.environment, BATCH.c.done_at < DbNow(-self.retention), ~left)
        with self.engine.begin() as connection:
            ids = list(connection.execute(sa.select(BATCH.c.id).where(*old).limit(MOST)).scalars())
            if ids:
                connection.execute(BATCH.delete().where(BATCH.c.id.in_(ids)))
        return len(ids)

    def _open(self) -> list[Any]:
        wanted = sa.select(BATCH).where(BATCH.c.environment == self.environment, BATCH.c.done_at.is_(None))
        with reading(self.engine) as connection:
            return list(connection.execute(wanted.order_by(BATCH.c.id).limit(MOST)).all())

    def _count(self, id: int) -> None:
        began = self.monotonic()
        if began < self._count_at.get(id, 0.0):
            return
        with reading(self.engine) as connection:
            counts = count(connection, id)
        with self.engine.begin() as connection:
            still = (BATCH.c.id == id, BATCH.c.done_at.is_(None))
            connection.execute(BATCH.update().where(*still).values(counts=counts, counted_at=DbNow()))
        ended = self.monotonic()
        self._count_at[id] = ended + (ended - began) / COUNT_SHARE

    def _finish(self, row: Any) -> bool:
        """Whether nothing of it is queued or being sent any more, and this worker is the one that says so."""
        live = sa.select(DELIVERY.c.id).where(DELIVERY.c.batch_id == row.id, DELIVERY.c.state.in_(sorted(LIVE)))
        with reading(self.engine) as connection:
            if connection.execute(live.limit(1)).first() is not None:
                return False
            counts = count(connection, row.id)
        with self.engine.begin() as connection:
            ended = BATCH.update().where(BATCH.c.id == row.id, BATCH.c.done_at.is_(None))
            if not connection.execute(ended.values(done_at=DbNow(), counts=counts, counted_at=DbNow())).rowcount:
                return False
            effects.of_batch(connection, row.id, self.environment, row.kind)
        self._count_at.pop(row.id, None)
        return True
