"""An engine whose every transaction is a savepoint of one that the test has open, and ends itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa


class Joined:
    """What the queue needs of an engine, on a connection with an open transaction that is not ours to end."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect

    def get_execution_options(self) -> Mapping[str, Any]:
        return self._connection.get_execution_options()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        with self._connection.begin_nested():
            yield self._connection

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        savepoint = self._connection.begin_nested()
        within = _Within(self._connection, savepoint)
        try:
            yield cast(sa.Connection, within)
            if within.kept and savepoint.is_active:
                savepoint.commit()
        finally:
            if savepoint.is_active:
                savepoint.rollback()


class _Within:
    """A connection whose commit ends the savepoint and nothing more; without one, all is undone at its end."""

    def __init__(self, connection: sa.Connection, savepoint: sa.NestedTransaction) -> None:
        self._connection = connection
        self._savepoint = savepoint
        self.kept = False  # what is done is committed by a transaction within, or statement by statement

    def commit(self) -> None:
        self._savepoint.commit()

    def begin(self) -> sa.NestedTransaction:
        self.kept = True
        return self._connection.begin_nested()

    def execution_options(self, **options: Any) -> _Within:
        self.kept = options.get("isolation_level") == "AUTOCOMMIT"
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
