"""What a person asks of a worker: on the pages to stop, or to end when nothing is due; by a migration, to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import operations
from outbox.core.events import logger
from outbox.core.shutdown import Stop
from outbox.store.queue import Queue
from outbox.worker.registration import Registration

if TYPE_CHECKING:
    from sqlalchemy import Engine


class Requests:
    """What a person asks of this worker on the pages, or has done to its tables."""

    def __init__(self, engine: Engine, queue: Queue, registration: Registration, stop: Stop) -> None:
        self._engine = engine
        self._queue = queue
        self._registration = registration
        self._stop = stop
        self.drains = False
        """Asked to end when nothing is due."""
        self.outdated: str | None = None
        """Why it must not go on with the tables as they are now; None: it may."""

    def look(self) -> None:
        """Read it; the next heartbeat looks again where that fails."""
        if self._stop.is_set() or self.outdated:
            return
        try:
            self.outdated = operations.outdated(self._engine)
            asked = None if self.drains else self._queue.asked(self._registration.id)
        except Exception as error:  # noqa: BLE001
            logger.debug("whether the worker is asked to end can't be read: %s", type(error).__name__)
            return
        if self.outdated:
            logger.error("%s The worker stops.", self.outdated)
        if asked == "stop":
            self._stop.set()
        self.drains |= asked == "drain"
