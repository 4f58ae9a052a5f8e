"""The duty of a worker about batches: see `operations.batch_rounds`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from outbox.core.clock import Debounce, monotonic
from outbox.core.events import logger
from outbox.operations.batch_rounds import Rounds
from outbox.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

_REMOVE_SECONDS = 600.0


def rounds(engine: sa.Engine, settings: Settings) -> Rounds:
    """What is done about batches by the clock."""
    return Rounds(engine, settings.environment, settings.retention_seconds, monotonic)


class Batches:
    """Look at the batches that are not done."""

    name = "look at batches"
    seconds = 2.0
    at_once = True

    def __init__(self, rounds: Rounds, wake: Callable[[], None]) -> None:
        """`wake`: calls handlers soon."""
        self._rounds = rounds
        self._wake = wake
        self._removes = Debounce(_REMOVE_SECONDS).passes

    def run(self) -> None:
        """One round."""
        for name in self._rounds.run():
            logger.info("batch %s is done", name)
            self._wake()
        if self._removes():
            self._rounds.remove_old()
