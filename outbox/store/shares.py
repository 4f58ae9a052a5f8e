"""The connections that workers of all hosts have to one transport, where there is a limit to their sum.

They are in the transport's row, which all workers read once a second anyway. A worker writes its own entry where that
changes; the entries of those that have ended go with the next that is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.delivery.connection_shares import Share
from outbox.store.databases import of
from outbox.store.models import OutboxWorker, table_of
from outbox.store.transport_model import OutboxTransport

_transport = table_of(OutboxTransport)
_worker = table_of(OutboxWorker)


def shares_of(said: Any) -> dict[int, Share]:
    """What the column of a row says, by worker."""
    found = {}
    for worker, one in (said if isinstance(said, dict) else {}).items():
        try:
            found[int(worker)] = Share(int(one[0]), int(one[1]))
        except (TypeError, ValueError, IndexError):  # another version's
            continue
    return found


class Shares:
    """Those of one environment. Thread-safe. All raise DatabaseError."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self._engine = engine
        self._environment = environment
        self._database = of(engine)

    def settle(
        self, name: str, worker: int, wants: int, held: Callable[[Mapping[int, Share]], int]
    ) -> dict[int, Share] | None:
        """Write down what this worker `wants`, and that it has as much as `held` says, which is asked with what all of
        them have; what they have then. None: somebody else writes, or there is no row."""
        ours = _transport.c.environment == self._environment, _transport.c.name == name
        with self._engine.begin() as connection:
            locked = self._database.skip_locked(sa.select(_transport.c.shares).where(*ours))
            if (row := connection.execute(locked).first()) is None:
                return None
            before = shares_of(row.shares)
            alive = sa.select(_worker.c.id).where(_worker.c.id.in_(before), _worker.c.stopped_at.is_(None))
            there = {*connection.execute(alive).scalars(), worker}
            shares = {one: share for one, share in before.items() if one in there}
            shares[worker] = Share(shares[worker].held if worker in shares else 0, wants)
            shares[worker] = Share(held(shares), wants)
            if shares != before:
                said = {str(one): [share.held, share.wants] for one, share in shares.items()}
                connection.execute(_transport.update().where(*ours).values(shares=said))
            return shares
