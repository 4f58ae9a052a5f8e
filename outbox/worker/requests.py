"""What a person asks of a worker on the pages: to stop, or to end when nothing is due."""

from __future__ import annotations

from outbox.core.events import logger
from outbox.core.shutdown import Stop
from outbox.store.queue import Queue
from outbox.worker.registration import Registration


class Requests:
    """What a person asks of this worker on the pages."""

    def __init__(self, queue: Queue, registration: Registration, stop: Stop) -> None:
        self._queue = queue
        self._registration = registration
        self._stop = stop
        self.drains = False
        """Asked to end when nothing is due."""

    def look(self) -> None:
        """Read it; the next heartbeat looks again where that fails."""
        if self._stop.is_set() or self.drains:
            return
        try:
            asked = self._queue.asked(self._registration.id)
        except Exception as error:  # noqa: BLE001
            logger.debug("whether the worker is asked to end can't be read: %s", type(error).__name__)
            return
        if asked == "stop":
            self._stop.set()
        self.drains = asked == "drain"
