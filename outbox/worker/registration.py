"""What the other workers and the status know of this one: its row, its heartbeats, what it repaired, that it ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from outbox.core.clock import monotonic
from outbox.core.events import EventName, Events, first_line, logger
from outbox.store.queue import Queue
from outbox.worker.lease_guard import LeaseGuard

_REMEMBERED_SECONDS = 3600.0  # how long a worker tells of what it repaired
_REMEMBERED = 5
_PATIENCE_SECONDS = 5.0  # for a heartbeat that the database holds up

Health = Callable[[], dict[str, Any]]
"""The worker's health, for the status."""


class Registration:
    """One worker's entry among the workers of a database. For several threads."""

    def __init__(self, queue: Queue, events: Events, *, dead_after: float) -> None:
        """`dead_after`: seconds without a heartbeat after which a worker counts as dead."""
        self._queue = queue
        self._events = events
        self._dead_after = dead_after
        self.lease_guard = LeaseGuard(dead_after, monotonic())
        self._repaired: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)  # (monotonic, what)
        self._writing = threading.Lock()  # a heartbeat after the deregistration would call the worker back to life
        self._gone = False
        self.id = 0

    def register(self, *, host: str, pid: int, version: str, connections: int) -> int:
        """Enter this worker; its id. Raises DatabaseError."""
        self.lease_guard = LeaseGuard(self._dead_after, monotonic())  # before the row, which is its first heartbeat
        self.id = self._queue.register(
            host=host, pid=pid, version=version, connections=connections, dead_after=self._dead_after
        )
        return self.id

    def beat(self, health: Health) -> None:
        """Say that the worker lives, and look for others that don't. A database that fails is logged."""
        try:
            # a heartbeat that the database does not answer must not hold up the next: only a deregistration excludes it
            alone = self._writing.acquire(timeout=_PATIENCE_SECONDS)
            try:
                if self._gone:
                    return
                self._beat(health)
            finally:
                if alone:
                    self._writing.release()
            self.rescue()
        except Exception as error:  # noqa: BLE001 - the next beat tries again
            logger.error("the heartbeat waits for the database: %s", first_line(error))

    def _beat(self, health: Health) -> None:
        began = monotonic()
        step = self._queue.beat(self.id, health() | {"repaired": self._told()})
        if not self.lease_guard.beat(began, monotonic(), slept=step > 0):
            self.repaired("late heartbeat: earlier claims are void")
        if step:
            self.repaired(f"the database's clock jumped by {step:+.0f} s: due times and leases were adjusted")

    def _told(self) -> list[dict[str, Any]]:
        now = monotonic()
        return [
            {"what": what, "ago_seconds": round(now - at, 1)}
            for at, what in list(self._repaired)
            if now - at < _REMEMBERED_SECONDS
        ]

    def repaired(self, what: str) -> None:
        """Tell of a fault that is dealt with: in the log at once, in the status with the next heartbeats."""
        self._repaired.append((monotonic(), what))
        self._events.emit(EventName.WORKER_FAULT, worker=self.id, reason=what)

    def rescue(self) -> None:
        """Make due at once what dead workers held. Raises DatabaseError."""
        for dead in self._queue.rescue(dead_after=self._dead_after):
            self._events.emit(EventName.WORKER_FAULT, worker=dead, reason="no heartbeat; what it held is due again")

    def retire(self, health: Health) -> None:
        """Report that the worker has shut down cleanly, as its last action. A database that fails is logged."""
        if not self._writing.acquire(timeout=_PATIENCE_SECONDS):
            logger.error("could not deregister the worker: timed out waiting for its last heartbeat")
            return
        try:
            self._gone = True
            self._beat(health)
            self._queue.retire(self.id)
        except Exception as error:  # noqa: BLE001 - it ends all the same
            logger.error("could not deregister the worker: %s", first_line(error))
        finally:
            self._writing.release()
