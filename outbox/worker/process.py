"""The `outbox-sender` process: its scheduled jobs, signals, the clean stop."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import Flask

from outbox import operations
from outbox.core.clock import monotonic
from outbox.core.events import EventName, Events, logger
from outbox.core.progress import Progress
from outbox.core.shutdown import on_signals
from outbox.core.version import VERSION
from outbox.delivery.rate import Rate
from outbox.extension.outbox import outbox_of
from outbox.extension.receivers import Receivers
from outbox.extension.state import bound_to
from outbox.monitoring.counters import Meters
from outbox.monitoring.http import Monitor
from outbox.store.engines import tell_progress
from outbox.worker import build, duties, service_manager
from outbox.worker.leftover import is_left
from outbox.worker.place import Place
from outbox.worker.pools import Pools
from outbox.worker.registration import Registration
from outbox.worker.requests import Requests
from outbox.worker.scheduler import Duty, Jobs
from outbox.worker.stall import Stall
from outbox.worker.watchdog import Watchdog

UNSENT = 75
"""EX_TEMPFAIL of sysexits.h, for the supervisor; `outbox-sender` ends in 1."""

PURGE_AT_END_SECONDS = 5.0
"""How long --once and --drain go on purging when all else is done."""
_RECEIVERS_SECONDS = 1.0  # for what receivers are still to be told at the end of the grace period
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
        outbox = outbox_of(app)
        self._settings = outbox.settings(app)
        self._end_at = math.inf  # monotonic
        if seconds is not None:
            self._end_at = monotonic() + seconds
            self._settings = replace(self._settings, shutdown_seconds=0.0)
        self._engine = outbox.database(app)
        self._session_engine = outbox.application_database(app)
        self._bound = bound_to(app)
        self._connections = connections  # None: as the settings say
        self._place = place = place or Place()
        self._settings = replace(self._settings, shutdown_seconds=min(self._settings.shutdown_seconds, place.grace))
        self._queue = build.queue(self._engine, self._settings, wake=True)
        self.events = Events()
        self._receivers = Receivers(app)
        self.events.observe(self._receivers.observe)
        self._stop = place.stop
        self._registration = Registration(self._queue, self.events, dead_after=self._settings.dead_after_seconds)
        self._requests = Requests(self._queue, self._registration, self._stop)
        self._purge = duties.Purge(build.purger(self._engine, self._settings), self._stop)
        self._stall = Stall(self._settings.poll_seconds)
        self._rate = Rate(monotonic())
        self._meters = None if self._settings.metrics_port is None else Meters()
        self._monitor: Monitor | None = None
        self._progress = Progress()
        self._pools: Pools | None = None
        self._pause = threading.Event()
        tell_progress(self._engine)
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
        settings, step = self._settings, self._progress.step
        self._watchdog.start()
        try:
            build.check(self._engine, self._session_engine, step)
            with step("registering the worker"), operations.guarded(self._engine):
                worker_id = self._registration.register(
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    version=VERSION,
                    connections=build.connections(settings, self._connections),
                )
            self._place.registered(worker_id)
            pools = self._pools = self._new_pools(worker_id)
            self.events.emit(EventName.WORKER_STARTED, worker=worker_id, pid=os.getpid(), relay=settings.relay_names)
            with step("looking for dead workers"):
                self._registration.rescue()
            pauses = build.pauses(pools, self._queue, self._settings, self._engine, self.events)
            with step("reading the pauses"):
                pauses.run()
            with step("reading earlier attempts"):
                build.learn(pools, self._engine, self._settings)
            pools.start()
            with step("starting the metrics"):
                self._open_monitor(pools)
            jobs = self._new_jobs(pools, pauses)
            code = self._watch(pools, jobs, once=once, drain=drain, progress=progress)
            self._purge.end_in(PURGE_AT_END_SECONDS if once or drain else 0.0)
            if code in (0, UNSENT) and (once or drain):
                with step("the purge"):
                    self._purge.run_once()
            if self._watchdog.hung:
                return self._leave(pools)
            if self._stop.is_set():
                self.events.emit(EventName.WORKER_STOPPING, worker=worker_id, grace=settings.shutdown_seconds)
            code = self._end(pools, code, one_pass=once or drain)
            self._tell(progress, pools, 0 if code == 0 and not self._stop.is_set() else None)
            return code
        finally:
            self._watchdog.close()

    def _end(self, pools: Pools, code: int, *, one_pass: bool) -> int:
        """Stop cleanly, as far as that is possible; the exit code."""
        self._watchdog.stopping()
        end = monotonic() + self._settings.shutdown_seconds
        recorded = pools.stop(self._settings.shutdown_seconds)
        self._receivers.close(max(_RECEIVERS_SECONDS, end - monotonic()))
        if recorded:
            with self._progress.step("deregistering the worker"):
                self._registration.retire(lambda: self._health(pools))
        else:  # not retired, so that its missing heartbeat tells the others to take over
            logger.error("not everything could be recorded or given back; another worker takes over")
            code = 1
        if one_pass and code != 1 and not self._stop.is_set():
            code = self._left(pools, stopped=code == UNSENT)
        if self._monitor is not None:
            self._monitor.stop()
        if hanging := self._hanging(pools):
            self._place.leave(1, f"the worker could not stop cleanly: {hanging} hangs; the process exits")
        counts = " ".join(f"{name}:{count}" for name, count in pools.totals.counts.items())
        self.events.emit(EventName.WORKER_STOPPED, worker=self._registration.id, did=counts)
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

    def _new_pools(self, worker_id: int) -> Pools:
        return build.pools(
            self._bound,
            self._settings,
            self._engine,
            worker_id=worker_id,
            connections=self._connections,
            queue=self._queue,
            events=self.events,
            lease_guard=self._registration.lease_guard,
            progress=self._progress,
            meters=self._meters,
        )

    def _open_monitor(self, pools: Pools) -> None:
        port = self._settings.metrics_port
        if port is None or self._meters is None:
            return
        if port:
            port += self._place.number
        self.events.observe(self._meters.observe)
        self._monitor = build.monitor(
            self._settings, self._engine, pools, self._registration, self._meters, port, lambda: self._illness(pools)
        )
        self._monitor.start()

    def _illness(self, pools: Pools) -> str | None:
        """Why the process should be restarted; None while its threads do their work."""
        if not pools.alive:
            return "a thread of the worker has died"
        return self._watchdog.wrong() or ("the scheduler has stopped" if self._stall.is_late else None)

    def _new_jobs(self, pools: Pools, pauses: duties.Pauses) -> Jobs:
        settings = self._settings
        heartbeat = duties.Heartbeat(
            settings.heartbeat_seconds,
            self._registration,
            lambda: self._health(pools),
            self._requests,
            monitor=self._monitor,
            hangs=self._watchdog.wrong,
        )
        self.events.observe(heartbeat.note)
        pauses.before = heartbeat.hasten
        wanted: list[Duty] = [
            duties.Poll(settings.poll_seconds, pools, self._receivers, self._stall),
            heartbeat,
            pauses,
            self._purge,
        ]
        wanted += build.further_duties(self._engine, settings, self._bound, own=self._place.own)
        jobs = Jobs(self._progress, *wanted)
        heartbeat.soon = lambda: jobs.soon(heartbeat.name)
        return jobs

    def _watch(self, pools: Pools, jobs: Jobs, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        """Wait for the end, with an eye on the scheduler from outside of it; the exit code."""
        self._stall.look()  # the first reading of the wall clock
        jobs.start()
        try:
            while not self._stop.wait(0.05 if once or drain else _WATCH_SECONDS):
                if pools.faulty or self._watchdog.hung:
                    return 1
                if (once or drain or self._requests.drains) and pools.wait_dry(0.05):
                    return 0
                if once and pools.down:
                    return UNSENT
                if monotonic() >= self._end_at:
                    self._stop.set()
                self._tell(progress, pools)
                if fault := self._stall.look():
                    self._registration.repaired(fault)
                    jobs.restart()
        finally:
            jobs.stop()
        return 0

    def _tell(self, progress: Progressed | None, pools: Pools, due: int | None = None) -> None:
        if progress is not None:
            with self._progress.step("counting what is due"):
                progress(pools.totals.counts, self._queue.due() if due is None else due)

    def _left(self, pools: Pools, *, stopped: bool) -> int:
        """The exit code after one pass."""
        with self._progress.step("counting what is left"):
            left = is_left(self._engine, self._queue, pools, self._settings, stopped=stopped)
        return UNSENT if left else 0

    def _health(self, pools: Pools) -> dict[str, Any]:
        return pools.health() | {"per_second": self._rate.seen(pools.totals.counts["sent"], monotonic())}
