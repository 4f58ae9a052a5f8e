"""A worker's purge of mail and audit: batch after batch until nothing old is left, without blocking others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.operations import audit, effects
from outbox.operations.ends import Place
from outbox.operations.erase_message import empty_ended
from outbox.operations.filters import Filter
from outbox.operations.purge import DONE_WITH, Done, look, remove, sweep
from outbox.operations.purge_events import purge_events
from outbox.store.databases import of
from outbox.store.reading import reading

BATCH = 500
"""Messages removed in one transaction."""

WHOLE_SECONDS = 3_600.0
"""So often it looks from the start again, for what was locked when it came by."""

KINDS_WHOLE_SECONDS = 86_400.0
"""The same where kinds have times of their own: each look passes by all that another time keeps."""

ALONE_SECONDS = 0.05
"""A batch is made as small as takes so long where nobody else writes meanwhile, on SQLite: a claim waits for it."""
LEAST = 50

NARROWED_SECONDS = 10.0
"""How long it holds that there is mail of one environment alone."""

PAUSE_SECONDS = 0.005
PAUSE_SHARE = 1.0
"""Between two batches: at least so long, and this share of what the last one took."""


@dataclass(slots=True)
class Walk:
    """What is kept for one time, and how far along the order of ends it was looked at."""

    done: Done
    place: Place | None = None
    _narrowed: Done | None = None
    _narrowed_at: float = 0.0  # monotonic

    def narrowed(self, connection: sa.Connection) -> Done:
        """What to look for. It takes a look over what was removed from the head of an index: not for each batch."""
        now = monotonic()
        if self._narrowed is None or now - self._narrowed_at >= min(self.done.older_than, NARROWED_SECONDS):
            self._narrowed, self._narrowed_at = self.done.narrowed(connection), now
        return self._narrowed


class Purger:
    """Goes along what has ended, the oldest first, and on from there at the next run. Thread-safe."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        environment: str,
        older_than: float,
        audit_older_than: float | None = None,
        kinds: Mapping[str, float] | None = None,
        batch: int = BATCH,
    ) -> None:
        """`older_than`: seconds since the end, after which a message of `environment` goes; `kinds`: the same of those
        that have a time of their own.

        `audit_older_than`: seconds after which an entry of the audit goes; None: never.
        """
        own = kinds or {}
        self._audit_older_than = audit_older_than
        self._engine = engine
        self._environment = environment
        self._older_than, of_all = older_than, Filter(environment=environment)
        self._walks = [Walk(Done(older_than, DONE_WITH, of_all, but_kinds=tuple(sorted(own))))]
        for seconds in sorted(set(own.values())):
            of_these = tuple(sorted(name for name, its_own in own.items() if its_own == seconds))
            self._walks.append(Walk(Done(seconds, DONE_WITH, of_all, kinds=of_these)))
        self._batch = self._most = batch
        self._alone, self._lazy_commit = of(engine).one_writer, of(engine).lazy_commit
        self._whole_seconds = KINDS_WHOLE_SECONDS if own else WHOLE_SECONDS
        self._whole_at = monotonic()
        self._lock = threading.Lock()

    def run(self, wait: Callable[[float], bool]) -> int:
        """Remove what is old; how many messages. Between two batches `wait` waits so many seconds, and says: stop."""
        with self._lock:
            if monotonic() - self._whole_at >= self._whole_seconds:
                self._whole_at = monotonic()
                for walk in self._walks:
                    walk.place = None
            removed = sum(self._walk(walk, wait) for walk in self._walks)
            with self._engine.begin() as connection:
                sweep(connection, self._walks[0].done)
                effects.remove_old(connection, self._environment, self._older_than)
            self._shorten_audit(wait)
            self._shorten_events(wait)
            empty_ended(self._engine)
            return removed

    def _walk(self, walk: Walk, wait: Callable[[float], bool]) -> int:
        removed, more = 0, not wait(0.0)
        while more:
            began = monotonic()
            with reading(self._engine) as connection:
                seen = look(connection, walk.narrowed(connection), self._batch, walk.place)
            if seen.messages:
                removed += self._remove(seen.messages, walk.done)
            walk.place = seen.place
            # not all of the time, so that claims and the application's writes get theirs
            more = seen.more and not wait(max(PAUSE_SECONDS, (monotonic() - began) * PAUSE_SHARE))
        return removed

    def _remove(self, messages: list[int], done: Done) -> int:
        began = monotonic()
        with self._engine.begin() as connection:
            if self._lazy_commit:
                connection.exec_driver_sql(self._lazy_commit)  # what a crash brings back is removed again
            removed = remove(connection, messages, done)
        if self._alone:
            fitting = int(len(messages) * ALONE_SECONDS / max(monotonic() - began, 0.001))
            self._batch = min(self._most, max(LEAST, fitting, self._batch // 2))
        return removed

    def _shorten_events(self, wait: Callable[[float], bool]) -> None:
        more = True
        while more:
            with self._engine.begin() as connection:
                removed = purge_events(connection, self._older_than, self._batch)
            more = removed == self._batch and not wait(PAUSE_SECONDS)

    def _shorten_audit(self, wait: Callable[[float], bool]) -> None:
        seconds, more = self._audit_older_than, True
        while more and seconds is not None:
            with self._engine.begin() as connection:
                removed = audit.remove_old(connection, seconds, self._batch)
            more = removed == self._batch and not wait(PAUSE_SECONDS)
