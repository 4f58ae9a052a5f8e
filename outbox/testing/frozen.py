"""A clock that stands still: the database's, by which mail is due and expires, and the one for Date headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine

from outbox.core import clock
from outbox.extension.state import Bound
from outbox.store.databases import of

_stopped: list[Clock] = []


def thaw_all() -> None:
    """Start every clock again that anybody stopped."""
    while _stopped:
        _stopped[-1].thaw()


class Clock:
    """Freezes an application's clock for Date headers, and time in what the outbox asks of any database."""

    def __init__(self, bound: Bound) -> None:
        self.frozen: datetime | None = None
        self._bound = bound

    def now(self) -> datetime:
        """Aware, in UTC."""
        return self.frozen or clock.utcnow()

    def freeze(self, moment: datetime) -> None:
        """Stand still at `moment` (aware)."""
        if moment.utcoffset() is None:
            raise ValueError(f"{moment} is naive: give it a time zone, e.g. datetime(2026, 11, 22, tzinfo=UTC)")
        if self.frozen is None:
            event.listen(Engine, "before_cursor_execute", self._rewrite, retval=True)
            self._bound.now = self.now
            _stopped.append(self)
        self.frozen = moment.astimezone(UTC)

    def travel(self, by: timedelta) -> None:
        """Stand still that much later."""
        self.freeze(self.now() + by)

    def thaw(self) -> None:
        """Go on with the real time."""
        if self.frozen is not None:
            event.remove(Engine, "before_cursor_execute", self._rewrite)
            self._bound.now = clock.utcnow
            self.frozen = None
            _stopped.remove(self)

    def _rewrite(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        if self.frozen is not None:
            statement = stopped_at(self.frozen, statement, connection.dialect)
        return statement, parameters


def stopped_at(moment: datetime, statement: str, dialect: Dialect) -> str:
    """`statement` with `moment` in the place of the database's clock."""
    database = of(dialect)
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)  # SQLite would round them up, to 60 s
    text = f"'{database.moment_text(whole)}'"
    if "'now'" in database.clock:  # a word among the arguments of a function, and not a function
        return statement.replace(database.clock, database.clock.replace("'now'", text))
    return statement.replace(database.clock, f"CAST({text} AS {database.moment.compile(dialect)})")
