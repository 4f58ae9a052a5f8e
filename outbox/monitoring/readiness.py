"""Whether a process could do its work: the database answers and has the outbox's tables."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from outbox import operations
from outbox.core.clock import monotonic
from outbox.core.errors import DatabaseError, SchemaError
from outbox.core.events import logger

if TYPE_CHECKING:
    from sqlalchemy import Engine

FRESH_SECONDS = 2.0
"""How long an answer is good for: probes come from several sides."""


class Readiness:
    """Asks the database, for several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._wrong: str | None = None

    def __call__(self) -> str | None:
        """None, or what is wrong in words that anybody may read; the log has the details."""
        with self._lock:
            if self._asked_at is None or monotonic() - self._asked_at >= FRESH_SECONDS:
                wrong = self._ask()
                self._asked_at = monotonic()
                self._wrong = wrong
            return self._wrong

    def _ask(self) -> str | None:
        try:
            lacking = operations.missing(self._engine)
        except SchemaError as error:  # migrated by a newer release
            self._log(str(error))
            return "the database is of another release"
        except DatabaseError as error:
            self._log(str(error))
            return "the database does not answer"
        if lacking:
            self._log(operations.unmigrated(lacking))
            return "the database is not migrated"
        return None

    def _log(self, words: str) -> None:
        if self._wrong is None:  # once, not at each probe
            logger.error("not ready: %s", words)
