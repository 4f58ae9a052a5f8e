"""A clock that stands still: the database's, by which mail is due and expires, and the one for Date headers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from outbox.core import clock
from outbox.store.databases import of


class Clock:
    """Freezes time for every engine of this process, in what the outbox asks of it alone."""

    def __init__(self) -> None:
        self.now: datetime | None = None

    def freeze(self, moment: datetime) -> None:
        """Stand still at `moment` (aware)."""
        if moment.utcoffset() is None:
            raise ValueError(f"{moment} is naive: give it a time zone, e.g. datetime(2026, 11, 22, tzinfo=UTC)")
        if self.now is None:
            event.listen(Engine, "before_cursor_execute", self._rewrite, retval=True)
        self.now = moment
        clock.freeze(moment)

    def travel(self, by: timedelta) -> None:
        """Stand still that much later."""
        self.freeze((self.now or clock.utcnow()) + by)

    def thaw(self) -> None:
        """Go on with the real time."""
        if self.now is not None:
            event.remove(Engine, "before_cursor_execute", self._rewrite)
            self.now = None
            clock.freeze(None)

    def _rewrite(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        if self.now is not None:
            statement = of(connection).frozen(statement, self.now)
        return statement, parameters
