"""A worker's purge of mail and audit: batch after batch until nothing old is left, without blocking others."""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.operations import audit, effects
from outbox.operations.filters import Filter
from outbox.operations.purge import DONE_WITH, Done, Place, look, remove, sweep
from outbox.operations.purge_events import purge_events
from outbox.store.reading import reading

BATCH = 1_000
"""Messages removed in one transaction."""

WHOLE_SECONDS = 3_600.0
"""So often it looks from the start again, for what was locked when it came by."""

PAUSE_SECONDS = 0.005
PAUSE_SHARE = 0.25
"""Between two batches: at least so long, and this share of what the last one took."""


class Purger:
    """Goes along what has ended, the oldest first, and on from there at the next run. Thread-safe."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        environment: str,
        older_than: float,
        audit_older_than: float | None = None,
        batch: int = BATCH,
    ) -> None:
        """`older_than`: seconds since the end, after which a message of `environment` goes.

        `audit_older_than`: seconds after which an entry of the audit goes; None: never.
        """
        self._audit_older_than = audit_older_than
        self._engine = engine
        self._environment = environment
        self._done = Done(older_than, DONE_WITH, Filter(environment=environment))
        self._batch = batch
        self._place: Place | None = None
        self._whole_at = monotonic()
        self._lock = threading.Lock()

    def run(self, wait: Callable[[float], bool]) -> int:
        """Remove what is old; how many messages. Between two batches `wait` waits so many seconds, and says: stop."""
        with self._lock:
            if monotonic() - self._whole_at >= WHOLE_SECONDS:
                self._place, self._whole_at = None, monotonic()
            removed, more = 0, not wait(0.0)
            while more:
                began = monotonic()
                with reading(self._engine) as connection:
                    seen = look(connection, self._done, self._batch, self._place)
                if seen.messages:
                    with self._engine.begin() as connection:
                        removed += remove(connection, seen.messages, self._done)
                self._place = seen.place
                # not all of the time, so that claims and the application's writes get theirs
                more = seen.more and not wait(max(PAUSE_SECONDS, (monotonic() - began) * PAUSE_SHARE))
            with self._engine.begin() as connection:
                sweep(connection, self._done)
                effects.remove_old(connection, self._environment, self._done.older_than)
            self._shorten_audit(wait)
            self._shorten_events(wait)
            return removed

    def _shorten_events(self, wait: Callable[[float], bool]) -> None:
        more = True
        while more:
            with self._engine.begin() as connection:
                removed = purge_events(connection, self._done.older_than, self._batch)
            more = removed == self._batch and not wait(PAUSE_SECONDS)

    def _shorten_audit(self, wait: Callable[[float], bool]) -> None:
        seconds, more = self._audit_older_than, True
        while more and seconds is not None:
            with self._engine.begin() as connection:
                removed = audit.remove_old(connection, seconds, self._batch)
            more = removed == self._batch and not wait(PAUSE_SECONDS)
