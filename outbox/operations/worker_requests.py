"""Ask a worker to end: it looks for that with each heartbeat."""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from outbox.operations import audit
from outbox.operations.tables import WORKER


class Ask(StrEnum):
    """What a worker is asked to do."""

    STOP = "stop"  # finish what is under way, give back the rest, end
    DRAIN = "drain"  # go on until nothing is due, then end


def ask_to_end(connection: sa.Connection, worker_id: int, what: Ask, *, by: str, note: str | None = None) -> bool:
    """Whether there is such a worker that has not ended; it ends within a few heartbeats, or when all is sent."""
    row = connection.execute(
        sa.select(WORKER.c.host, WORKER.c.pid).where(WORKER.c.id == worker_id, WORKER.c.stopped_at.is_(None))
    ).first()
    if row is None:
        return False
    asked = WORKER.update().where(WORKER.c.id == worker_id, WORKER.c.stopped_at.is_(None)).values(asked=what.value)
    if not connection.execute(asked).rowcount:
        return False
    audit.write(connection, f"{what}-worker", by=by, count=1, filters=f"worker {row.host}:{row.pid}", note=note)
    return True
