"""A worker inside a process that others run and end: no signals, no exit, no polling of its own.

It is made of the same parts as `process.Worker`, has a row and a heartbeat like any other, and claims what it is asked
for. Once it can't go on it only stops its heartbeat: what it held is due again for others, and a new one takes its
place here.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Flask

from outbox import operations
from outbox.core.clock import awake, monotonic
from outbox.core.events import Event, EventName, Events, logger
from outbox.core.progress import Progress
from outbox.core.shutdown import Stop
from outbox.core.version import VERSION
from outbox.delivery.rate import Rate
from outbox.extension.outbox import outbox_of
from outbox.extension.receivers import Receivers
from outbox.extension.state import bound_to
from outbox.store.engines import tell_progress
from outbox.worker import build, duties
from outbox.worker.asked import Asked
from outbox.worker.claimer import CLAIM_PER_CONNECTION
from outbox.worker.registration import Registration
from outbox.worker.requests import Requests
from outbox.worker.scheduler import Duty, Jobs
from outbox.worker.stall import Stall

_WATCH_SECONDS = 1.0  # between two looks at the threads
_JUMP_SECONDS = 5.0  # the watching thread did not run for this long: nor did the others, perhaps
_LATER_SECONDS = 0.1  # from when mail is due again until it is looked for
_RECEIVERS_SECONDS = 1.0
_END_SECONDS = 15.0  # beyond the grace period, for a stop to come back


class Engine:
    """One worker, from `start` until it has `ended`."""

    def __init__(self, app: Flask, *, name: str, connections: int | None = None, share: int = 1) -> None:
        """`name`: by which the status shows it. `connections`: to each transport; None: as the settings say, divided by
        `share`, the number of processes that have an engine."""
        outbox = outbox_of(app)
        relays = outbox.settings(app).transports
        divided = tuple(replace(one, connections=connections or max(1, one.connections // share)) for one in relays)
        self._app = app
        self._name = name
        self._settings = settings = replace(outbox.settings(app), transports=divided)
        with app.app_context():
            self._engine = outbox.database(app)
            self._session_engine = outbox.application_database(app)
        self._queue = build.queue(self._engine, settings)
        self._events = Events()
        self._receivers = Receivers(app)
        self._events.observe(self._receivers.observe)
        self._events.observe(self._note)
        self._registration = Registration(self._queue, self._events, dead_after=settings.dead_after_seconds)
        self._stop = Stop()
        self._requests = Requests(self._queue, self._registration, self._stop)
        self._progress = Progress()
        self._rate = Rate(monotonic())
        self._stall = Stall(settings.poll_seconds)
        self._asked = {one.name: Asked(one.connections * CLAIM_PER_CONNECTION) for one in divided}
        self._watching = threading.Thread(target=self._watch, name="outbox-engine", daemon=True)
        self._given_up: str | None = None
        tell_progress(self._engine)

    def start(self) -> None:
        """Register, and be ready to claim. Raises what `build.check` raises, or DatabaseError."""
        settings, step = self._settings, self._progress.step
        build.check(self._engine, self._session_engine, step)
        with operations.guarded(self._engine):
            worker_id = self._registration.register(
                host=socket.gethostname(),
                pid=os.getpid(),
                version=VERSION,
                connections=build.connections(settings, None),
            )
        self._pools = build.pools(
            bound_to(self._app),
            settings,
            self._engine,
            worker_id=worker_id,
            connections=None,
            queue=self._queue,
            events=self._events,
            lease_guard=self._registration.lease_guard,
            progress=self._progress,
            meters=None,
            asked=self._asked,
        )
        self._events.emit(EventName.WORKER_STARTED, worker=worker_id, pid=os.getpid(), relay=settings.relay_names)
        self._registration.rescue()
        pauses = build.pauses(self._pools, self._queue, settings, self._engine, self._events)
        pauses.run()
        build.learn(self._pools, self._engine, settings)
        self._pools.start()
        self._jobs = Jobs(self._progress, *self._duties(pauses))
        self._stall.look()  # the first reading of the wall clock
        self._jobs.start()
        self._watching.start()

    @property
    def ended(self) -> bool:
        """Whether another one is needed."""
        return self._given_up is not None or self._stop.is_set()

    def deliver(self, ids: Sequence[int], patience: float) -> bool:
        """Have these claimed; back as soon as they may wait here. False after `patience` seconds without room."""
        end = monotonic() + patience
        taken = True
        for asked in self._asked.values():  # one that is busy must not keep it from the others
            taken = asked.ask(ids, max(0.0, end - monotonic())) and taken
        self._pools.nudge()
        return taken

    def sweep(self, delay: float = 0.0) -> None:
        """Look at all that is due, in so many seconds, until nothing is."""
        for asked in self._asked.values():
            asked.sweep(delay)
        if not delay:
            self._pools.nudge()

    def stop(self) -> None:
        """Finish what is under way within the grace period, give back the rest, deregister."""
        self._stop.set()
        self._watching.join(self._settings.shutdown_seconds + _END_SECONDS)

    def _duties(self, pauses: duties.Pauses) -> list[Duty]:
        settings = self._settings
        heartbeat = duties.Heartbeat(
            settings.heartbeat_seconds,
            self._registration,
            self._health,
            self._requests,
            monitor=None,
            hangs=self._wrong,
        )
        self._events.observe(heartbeat.note)
        heartbeat.soon = lambda: self._jobs.soon(heartbeat.name)
        pauses.before = heartbeat.hasten
        purge = duties.Purge(build.purger(self._engine, settings), self._stop)
        wanted: list[Duty] = [
            duties.Poll(settings.poll_seconds, self._pools, self._receivers, self._stall),
            heartbeat,
            pauses,
            purge,
        ]
        return [*wanted, *build.further_duties(self._engine, settings, bound_to(self._app), own=False)]

    def _health(self) -> dict[str, Any]:
        said = self._pools.health()
        return said | {"engine": self._name, "per_second": self._rate.seen(said["counts"]["sent"], monotonic())}

    def _note(self, event: Event) -> None:
        """What is due again soon is looked for then: no task will come for it."""
        if event.name in {EventName.RETRIED, EventName.RELEASED} and not self._stop.is_set():
            self.sweep((event.facts.get("delay") or 0.0) + _LATER_SECONDS)

    def _wrong(self) -> str | None:
        """Why this engine can't go on; None while it can."""
        if self._given_up is None:
            hung = [
                one for one in self._progress.underway()[:1] if one.seconds >= self._settings.database_timeout_seconds
            ]
            died = "a thread of the worker has died" if self._pools.faulty else None
            stands = f"{hung[0].what} has made no progress for {hung[0].seconds:.0f} s" if hung else None
            return died or stands or self._pools.hangs
        return self._given_up

    def _watch(self) -> None:
        """Until it is to stop, or can't go on."""
        looked_at = awake()
        while not self._stop.wait(_WATCH_SECONDS):
            gap, looked_at = awake() - looked_at, awake()
            if gap > _JUMP_SECONDS:
                self._progress.excuse(gap)
            elif wrong := self._wrong():
                self._give_up(wrong)
                return
            if fault := self._stall.look():
                self._registration.repaired(fault)
                self._jobs.restart()
            if self._requests.drains and self._pools.wait_dry(0.05):
                break
        self._end()

    def _give_up(self, wrong: str) -> None:
        logger.error("%s; another worker takes over what it held", wrong)
        self._given_up = wrong
        self._jobs.stop()
        self._pools.leave()

    def _end(self) -> None:
        grace = self._settings.shutdown_seconds
        self._events.emit(EventName.WORKER_STOPPING, worker=self._registration.id, grace=grace)
        self._stop.set()
        self._jobs.stop()
        end = monotonic() + grace
        for asked in self._asked.values():
            asked.drop()
        recorded = self._pools.stop(grace)
        self._receivers.close(max(_RECEIVERS_SECONDS, end - monotonic()))
        if recorded:
            self._registration.retire(self._health)
        else:  # not retired, so that its missing heartbeat tells the others to take over
            logger.error("not everything could be recorded or given back; another worker takes over")
        counts = " ".join(f"{name}:{count}" for name, count in self._pools.totals.counts.items())
        self._events.emit(EventName.WORKER_STOPPED, worker=self._registration.id, did=counts)
