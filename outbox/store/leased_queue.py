"""What calls are made about, in a table with a row for each: taken under a lease, tried again later, or given up.

The lease is the number of attempts, counted before the call: a call that breaks its process is counted, too, and one
whose row was taken by another meanwhile finds that number changed and commits nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import sqlalchemy as sa

from outbox.delivery.happened import Happened
from outbox.store.databases import of
from outbox.store.reading import reading
from outbox.store.types import DbNow


@dataclass(frozen=True, slots=True)
class Due:
    """One call under lease."""

    id: int
    attempts: int
    event: Happened | None = field(repr=False)
    """None: the message or batch that it is about was purged."""


class LeasedQueue(ABC):
    """Those of one environment. Safe to use from several threads."""

    _table: ClassVar[sa.Table]  # with the columns id, environment, name, due_at, attempts and error

    def __init__(self, engine: sa.Engine, environment: str) -> None:
        self._engine = engine
        self._environment = environment

    def look(self, names: Sequence[str]) -> list[str]:
        """Those of `names` for which something is due. Takes no lock."""
        if not names:
            return []
        due = [sa.select(sa.literal(name).label("name")).where(sa.exists(self._due(name))) for name in names]
        with reading(self._engine) as connection:
            return list(connection.execute(sa.union_all(*due)).scalars())

    def claim(self, name: str, limit: int, lease: float) -> list[Due]:
        """Take some for `lease` seconds, the oldest first."""
        table = self._table.c
        with self._engine.begin() as connection:
            due = self._due(name).order_by(table.due_at, table.id).limit(limit)
            ids = list(connection.execute(of(connection).skip_locked(due)).scalars())
            if not ids:
                return []
            taken = {"due_at": DbNow(lease), "attempts": table.attempts + 1}
            connection.execute(self._table.update().where(table.id.in_(ids)).values(taken))
            return self._read(connection, ids)

    def give_back(self, due: Iterable[Due]) -> None:
        """As if they had never been taken."""
        for one in due:
            self._change(one, due_at=DbNow(), attempts=self._table.c.attempts - 1)

    def fail(self, due: Due, error: str, delay: float | None) -> None:
        """Due again in `delay` seconds; None: given up."""
        self._change(due, due_at=None if delay is None else DbNow(delay), error=error[:500])

    @abstractmethod
    def disable(self, name: str, error: str) -> None:
        """Call this one no more, until a person says so; what it was to be told of stays."""

    @abstractmethod
    def _read(self, connection: sa.Connection, ids: Sequence[int]) -> list[Due]:
        """What was taken, with what it is about."""

    @abstractmethod
    def _change(self, due: Due, **values: Any) -> None:
        """Write it, where it is still ours."""

    def _due(self, name: str) -> sa.Select[Any]:
        table = self._table.c
        where = (table.name == name, table.environment == self._environment, table.due_at <= DbNow())
        return sa.select(table.id).where(*where)
