"""How much memory a worker needs for big mail. For much mail, see the figure flat."""

from __future__ import annotations

import random

from benchmarks import drain, stock
from benchmarks.ground import Ground

BYTES = 5 * 2**20
DIFFERENT = 20
_QUEUED = 10_000
_SENT = 100  # 700 MB go over the wire


def attachments(ground: Ground) -> None:
    """10,000 mails queued with an attachment of 5 MB, one of 20; until some hundred were sent."""
    chance = random.Random(1)
    blobs = [chance.randbytes(BYTES) for _ in range(DIFFERENT)]
    with ground.database("postgresql") as database:
        stock.fill(database.worker_engine, _QUEUED, attachments=blobs)
        for connections in (4, 32) * ground.size.repetitions:
            drained = drain.drain(ground, database, connections, most=_SENT)
            ground.keep(
                "memory",
                f"5 MB attachments, {connections} connections",
                memory=drained.cost.memory,
                rate=drained.rate,
                mails=drained.mails,
            )
