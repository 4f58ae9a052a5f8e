"""Which DKIM selector signs what: written down when a worker starts with another one, read by all that follow.

So a message that was enqueued before a key was replaced keeps its signature, and costs no query (docs/decisions/0037).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.message.dkim.signer import Turn
from outbox.store.dkim_model import OutboxDkimTurn
from outbox.store.models import table_of
from outbox.store.types import DbNow, utc

_turn = table_of(OutboxDkimTurn)


class DkimTurns:
    """Those of one environment. All raise DatabaseError."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self._engine = engine
        self._environment = environment

    def begin(self, transport: str, algorithm: str, selector: str) -> list[Turn]:
        """The turns of one transport and kind of key, ascending; the last one is that of `selector`, new or not."""
        with self._engine.begin() as connection:
            turns = self._read(connection, transport, algorithm)
            if turns and turns[-1].selector == selector:
                return turns
            row = {"environment": self._environment, "transport": transport, "algorithm": algorithm}
            connection.execute(_turn.insert().values(**row, selector=selector, since=DbNow()))
            return self._read(connection, transport, algorithm)

    def _read(self, connection: sa.Connection, transport: str, algorithm: str) -> list[Turn]:
        ours = (
            _turn.c.environment == self._environment,
            _turn.c.transport == transport,
            _turn.c.algorithm == algorithm,
        )
        rows = connection.execute(sa.select(_turn.c.selector, _turn.c.since).where(*ours).order_by(_turn.c.id))
        return [Turn(row.selector, utc(row.since)) for row in rows]
