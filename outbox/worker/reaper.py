"""Makes due what dead workers held, each by a process of its own: a database that hangs holds up nobody."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkContext, ForkProcess

from outbox.core.clock import awake, monotonic
from outbox.core.events import logger
from outbox.store.queue import Queue
from outbox.worker.watchdog import end_process

_AGAIN_SECONDS = 2.0  # until a dead worker's leases are looked at a second time
_END_SECONDS = 5.0  # at the end, for what dead workers held


@dataclass(slots=True)
class _Dead:
    """A dead worker whose leases are still to be looked at."""

    worker_id: int
    look_at: float
    for_good: bool = False
    process: ForkProcess | None = None  # which looks
    started: float = 0.0


class Reaper:
    """For the process that starts workers."""

    def __init__(self, fork: ForkContext, queue: Queue, limit: float, forked: Callable[[], None]) -> None:
        """`limit`: seconds that the database may take. `forked` is called in each new process first."""
        self._fork = fork
        self._queue = queue
        self._limit = limit
        self._forked = forked
        self._dead: list[_Dead] = []

    def add(self, worker_id: int) -> None:
        """This worker's process has died."""
        self._dead.append(_Dead(worker_id, monotonic()))

    @property
    def sentinels(self) -> list[int]:
        """Readable when there is something to `look` at."""
        return [dead.process.sentinel for dead in self._dead if dead.process is not None]

    def look(self) -> None:
        """Start what is to be looked at, and take in what came of it."""
        for dead in list(self._dead):
            if dead.process is None:
                if dead.look_at <= monotonic():
                    dead.process = self._fork.Process(target=self._release, args=(dead.worker_id, dead.for_good))
                    dead.process.start()
                    dead.started = awake()
            elif dead.process.exitcode is None:
                if awake() - dead.started > self._limit + _AGAIN_SECONDS:
                    dead.process.kill()
            else:
                done = dead.process.exitcode == 0
                dead.process.join()
                dead.process, dead.look_at = None, monotonic() + _AGAIN_SECONDS
                if done and dead.for_good:
                    self._dead.remove(dead)
                dead.for_good = dead.for_good or done

    def end(self) -> None:
        """Look a last time, for seconds; what can't be released is told."""
        end = awake() + _END_SECONDS
        while self._dead and awake() < end:
            for dead in self._dead:
                if dead.process is None:
                    dead.for_good, dead.look_at = True, 0.0
            self.look()
            wait(self.sentinels, _AGAIN_SECONDS / 10)
        for dead in self._dead:
            logger.error(
                "could not release the leases of worker %d: its mail is due again when they expire", dead.worker_id
            )
            if dead.process is not None:
                dead.process.kill()

    def _release(self, worker_id: int, for_good: bool) -> None:
        """In the process for it."""
        os.setpgid(0, 0)
        self._forked()
        for number_of_signal in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number_of_signal, signal.SIG_DFL)
        try:
            self._queue.release_leases(worker_id, for_good=for_good)
        except Exception as error:  # noqa: BLE001 - the next look tries again; the others see its heartbeat grow old
            logger.error("could not release the leases of worker %d, retrying: %s", worker_id, type(error).__name__)
            end_process(1)
        end_process(0)
