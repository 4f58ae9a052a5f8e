"""A claimer that claims what it is asked for: by tasks of Celery, which name deliveries, or ask for a sweep.

Between them it looks at nothing. A sweep is what any other worker does all the time, until nothing is due: so the rules
for pauses, probes, rates and expired mail are the same.
"""

from __future__ import annotations

from typing import Any

from outbox.core.events import logger
from outbox.worker.asked import Asked
from outbox.worker.claimer import Claimer


class AskedClaimer(Claimer):
    """The thread that claims, where others say when."""

    def __init__(self, wanted: Asked, *arguments: Any, **options: Any) -> None:
        """`arguments`, `options`: of any claimer."""
        super().__init__(*arguments, **options)
        self._wanted = wanted

    def look(self) -> float:
        """As any claimer; seconds until the next look."""
        if self._wanted.is_sweep_due() or (len(self._wanted) and not self._buffer.idle):
            self._begin_sweep()  # much is to be sent: claims of all that is due take more than those of single tasks
        if self._wanted.sweeps:
            self._wanted.drop()  # it finds them, too; not what is asked for while it looks
        pause = super().look()
        if self._wanted.sweeps:
            if self._lacks_connections and self._is_nothing_due():
                self.dry.set()
            self._wanted.sweeps = self._buffer.is_down or not self.dry.is_set()
        elif len(self._wanted) and (self._buffer.is_down or self._buffer.pacer.held_up):
            self._begin_sweep()  # which probe the relay, or get the next permits, is not for tasks to say
            return 0.0
        elif len(self._wanted) and self._may_claim() and self._lacks_mail and self._buffer.room(self._size):
            return 0.0
        return pause

    @property
    def _lacks_connections(self) -> bool:
        """Whether other workers have all that may be open: it gets some as long as there is something to claim."""
        return self._buffer.door.share == 0 and self._buffer.idle

    def _is_nothing_due(self) -> bool:
        try:
            return not self._queue.is_any()
        except Exception as error:  # noqa: BLE001 - most likely the database is away: the next look asks again
            logger.debug("a sweep waits for the database: %s", type(error).__name__)
            return False

    def _begin_sweep(self) -> None:
        self._wanted.sweeps = True
        self.dry.clear()

    @property
    def _lacks_mail(self) -> bool:
        """Whether the connections will soon have nothing to do; till then tasks come together in one claim."""
        return len(self._buffer) < self.low

    def _claim_safely(self, room: int) -> int:
        if room and not self._lacks_mail:
            return 0
        if self._wanted.sweeps or len(self._wanted) or not self._buffer.healthy:
            return super()._claim_safely(room)
        return 0  # else it would reserve permits of a rate for what others are to send

    def _claim(self, room: int) -> int:
        if self._wanted.sweeps or self._buffer.suspects() is not None:
            return super()._claim(room)
        ids = self._wanted.take(room)
        return self._dispatcher.claim(self._worker_id, len(ids), ids=ids) if ids else 0
