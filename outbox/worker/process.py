"""The `outbox-sender` process: its scheduled jobs, signals, the clean stop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from flask import Flask

from outbox.core.clock import monotonic
from outbox.core.events import logger
from outbox.core.shutdown import on_signals
from outbox.extension.outbox import outbox_of
from outbox.monitoring.counters import Meters
from outbox.monitoring.http import Monitor
from outbox.worker import build, service_manager
from outbox.worker.leftover import is_left, say_held
from outbox.worker.one_cpu import OneProcessor
from outbox.worker.parts import Parts
from outbox.worker.place import Place
from outbox.worker.pools import Pools
from outbox.worker.scheduler import Jobs
from outbox.worker.watchdog import Watchdog

UNSENT = 75
"""EX_TEMPFAIL of sysexits.h, for the supervisor; `outbox-sender` ends in 1."""

PURGE_AT_END_SECONDS = 5.0
"""How long --once and --drain go on purging when all else is done."""
_ENDING_SECONDS = 1.0  # for jobs of the scheduler that are under way at the end
_WATCH_SECONDS = 1.0  # how often the main thread looks at the others

Progressed = Callable[[Mapping[str, int], int], None]
"""Called with how many ended in which way, and how many are due, while a queue is drained."""


def run(
    app: Flask,
    *,
    once: bool = False,
    drain: bool = False,
    connections: int | None = None,
    progress: Progressed | None = None,
    seconds: float | None = None,
    place: Place | None = None,
) -> int:
    """Be a worker until told to stop; the exit code.

    `once`: send what is due now, then end. `drain`: go on until nothing is due, then end. Neither: forever. `seconds`:
    end after so many, and cut off what the relay has not answered by then. `progress`: called a last time when all has
    ended. 0: stopped cleanly; 1: something is left that could not be recorded, or a thread died; UNSENT: after
    `once` or `drain` something is due that relay or account kept from being sent. Raises SchemaError where the database
    is not migrated, DatabaseError where it does not answer.
    """
    with app.app_context():
        worker = Worker(app, connections=connections, seconds=seconds, place=place or service_manager.place())
        return worker.run(once=once, drain=drain, progress=progress)


class Worker:
    """The worker of one process."""

    def __init__(
        self,
        app: Flask,
        *,
        connections: int | None = None,
        seconds: float | None = None,
        place: Place | None = None,
    ) -> None:
        settings = outbox_of(app).settings(app)
        self._end_at = math.inf  # monotonic
        if seconds is not None:
            self._end_at = monotonic() + seconds
            settings = replace(settings, shutdown_seconds=0.0)
        self._connections = connections  # None: as the settings say
        self._place = place = place or Place()
        self._settings = settings = replace(settings, shutdown_seconds=min(settings.shutdown_seconds, place.grace))
        self._stop = place.stop
        self._parts = Parts(app, settings, self._stop, wake=True)
        self._meters = None if settings.metrics_port is None else Meters()
        self._monitor: Monitor | None = None
        self._progress = self._parts.progress
        self._pools: Pools | None = None
        self._pause = threading.Event()
        self._watchdog = Watchdog(
            self._progress,
            self._settings.database_timeout_seconds,
            lambda: self._pools.hangs if self._pools is not None else None,
            told_to_stop=self._stop.is_set,
            grace=self._settings.shutdown_seconds,
            alive=place.alive,
            leave=place.leave,
        )

    def nudge(self) -> None:
        """Look at the queue now. From any thread."""
        if self._pools is not None:
            self._pools.nudge()

    def run(self, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        with on_signals(self._stop):  # before the row is written: whoever sees it may send one
            return self._run(once=once, drain=drain, progress=progress)

    def _run(self, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        parts, step = self._parts, self._progress.step
        self._watchdog.start()
        try:
            self._place.registered(parts.register(self._connections))
            pools = self._pools = parts.pools(self._connections, meters=self._meters)
            pauses = parts.begin(pools)
            with step("starting the metrics"):
                self._open_monitor(pools)
            jobs = parts.jobs(
                pools,
                pauses,
                one_cpu=OneProcessor if self._place.own else None,
                health=lambda: parts.health(pools),
                hangs=self._watchdog.wrong,
                monitor=self._monitor,
            )
            code = self._watch(pools, jobs, once=once, drain=drain, progress=progress)
            parts.purge.end_in(PURGE_AT_END_SECONDS if once or drain else 0.0)
            if code in (0, UNSENT) and (once or drain):
                with step("the purge"):
                    parts.purge.run_once()
            if self._watchdog.hung:
                return self._leave(pools)
            if self._stop.is_set():
                parts.stopping(self._settings.shutdown_seconds)
            code = self._end(pools, code, one_pass=once or drain)
            self._tell(progress, pools, 0 if code == 0 and not self._stop.is_set() else None)
            return code
        finally:
            self._watchdog.close()

    def _end(self, pools: Pools, code: int, *, one_pass: bool) -> int:
        """Stop cleanly, as far as that is possible; the exit code."""
        self._watchdog.stopping()
        if not self._parts.end(pools, self._settings.shutdown_seconds, lambda: self._parts.health(pools)):
            code = 1
        if one_pass and code != 1 and not self._stop.is_set():
            code = self._left(pools, stopped=code == UNSENT)
        if self._monitor is not None:
            self._monitor.stop()
        if hanging := self._hanging(pools):
            self._place.leave(1, f"the worker could not stop cleanly: {hanging} hangs; the process exits")
        self._parts.stopped(pools)
        return code

    def _leave(self, pools: Pools) -> int:
        """End the process though something hangs, and join nothing; what the relay has answered is recorded first."""
        logger.error("%s; the worker exits so that it can be restarted", self._watchdog.wrong() or "a thread hung")
        pools.leave()
        self._place.leave(1, None)
        return 1

    def _hanging(self, pools: Pools) -> str | None:
        """What has not come back after a stop; None: every thread has ended, or is about to."""
        end = monotonic() + _ENDING_SECONDS
        while (steps := self._progress.underway()) and monotonic() < end:
            self._pause.wait(0.02)
        return steps[0].what if steps else pools.hanging

    def _open_monitor(self, pools: Pools) -> None:
        parts, port = self._parts, self._settings.metrics_port
        if port is None or self._meters is None:
            return
        if port:
            port += self._place.number
        parts.events.observe(self._meters.observe)
        self._monitor = build.monitor(
            self._settings, parts.engine, pools, parts.registration, self._meters, port, lambda: self._illness(pools)
        )
        self._monitor.start()

    def _illness(self, pools: Pools) -> str | None:
        """Why the process should be restarted; None while its threads do their work."""
        if not pools.alive:
            return "a thread of the worker has died"
        return self._watchdog.wrong() or ("the scheduler has stopped" if self._parts.stall.is_late else None)

    def _watch(self, pools: Pools, jobs: Jobs, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        """Wait for the end, with an eye on the scheduler from outside of it; the exit code."""
        self._parts.stall.look()  # the first reading of the wall clock
        jobs.start()
        try:
            while not self._stop.wait(0.05 if once or drain else _WATCH_SECONDS):
                if pools.faulty or self._watchdog.hung or self._parts.requests.outdated:
                    return 1
                if (once or drain or self._parts.requests.drains) and pools.wait_dry(0.05):
                    return 0
                if once and pools.down:
                    return UNSENT
                if monotonic() >= self._end_at:
                    self._stop.set()
                self._tell(progress, pools)
                self._parts.repair(jobs)
        finally:
            jobs.stop()
        return 0

    def _tell(self, progress: Progressed | None, pools: Pools, due: int | None = None) -> None:
        if progress is not None:
            with self._progress.step("counting what is due"):
                progress(pools.totals.counts, self._parts.queue.due() if due is None else due)

    def _left(self, pools: Pools, *, stopped: bool) -> int:
        """The exit code after one pass."""
        with self._progress.step("counting what is left"):
            left = is_left(self._parts.engine, self._parts.queue, pools, self._settings, stopped=stopped)
            say_held(self._parts.engine, self._parts.queue, self._settings)
        return UNSENT if left else 0
