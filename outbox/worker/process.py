"""The `outbox-sender` process: its jobs by the clock, signals, the stop in good order."""

from __future__ import annotations

import math
import os
import random
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Flask

from outbox import operations
from outbox.core.clock import Debounce, Steps, monotonic, utcnow
from outbox.core.errors import ConfigurationError
from outbox.core.events import Event, EventName, Events, first_line, logger
from outbox.core.progress import Progress, got_on
from outbox.core.shutdown import Stop, on_signals
from outbox.core.version import VERSION
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.rate import Rate
from outbox.delivery.retry import RetryPolicy
from outbox.extension.outbox import outbox_of
from outbox.extension.receivers import Receivers
from outbox.extension.state import bound_to
from outbox.monitoring import prometheus
from outbox.monitoring.counters import Meters
from outbox.monitoring.http import Monitor
from outbox.monitoring.readiness import Readiness
from outbox.smtp.connection import Connection
from outbox.smtp.learned import Learned
from outbox.store.databases import of
from outbox.store.engines import tell_progress
from outbox.store.held import Held
from outbox.store.queue import Queue
from outbox.store.reading import reading
from outbox.store.record import Ledger
from outbox.store.rulings import Rulings
from outbox.worker.dispatcher import Terms
from outbox.worker.pool import Crew
from outbox.worker.registration import Presence
from outbox.worker.scheduler import Job, Jobs
from outbox.worker.watchdog import Watchdog, end_process

UNSENT = 75
"""EX_TEMPFAIL of sysexits.h, for the supervisor; `outbox-sender` ends in 1."""

PURGE_SECONDS = 600.0
PURGE_AT_END_SECONDS = 5.0
"""How long --once and --drain go on purging when all else is done."""
REDACT_SECONDS = 10.0
PAUSES_SECONDS = 1.0
"""How often a worker looks for pauses: a new one takes effect so soon, but for what a connection is sending."""
_TURNED_SECONDS = 1.0  # at least, between two heartbeats because the relay went out of use, or came back
_ABANDONED_LOOK_SECONDS = 60.0  # between two looks for pauses of transports that are no more
_RECEIVERS_SECONDS = 1.0  # for what receivers are still to be told at the end of the grace period
_ENDING_SECONDS = 1.0  # for jobs of the scheduler that are under way at the end
_WATCH_SECONDS = 1.0  # how often the main thread looks at the others
_STALL_SECONDS = 10.0  # no poll for so long: the scheduler has stopped
_STEP_SECONDS = 2.0  # a wall clock that is off by more was stepped, and the scheduler counts by it

Progressed = Callable[[Mapping[str, int], int], None]
"""Called with how many ended in which way, and how many are due, while a queue is drained."""


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among those of one supervisor."""

    number: int  # from 0: its metrics' port is so much higher
    lifeline: int  # a descriptor that becomes readable when the supervisor has gone
    registered: Callable[[int], None]  # told the worker's id before anything is claimed
    alive: Callable[[], None]  # called several times a second while the process can run


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

    `once`: send what is due now, then end. `drain`: go on until nothing is due, then end. Neither: for ever. `seconds`:
    end after so many, and cut off what the relay has not answered by then. `progress`: called a last time when all has
    ended. 0: stopped in good order; 1: something is left that could not be recorded, or a thread died; UNSENT: after
    `once` or `drain` something is due that relay or account kept from being sent. Raises SchemaError where the database
    is not migrated, DatabaseError where it does not answer.
    """
    with app.app_context():
        worker = Worker(app, connections=connections, seconds=seconds, place=place)
        return worker.run(once=once, drain=drain, progress=progress)


class Worker:
    """One process's daemon."""

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
        self._connections = connections or self._settings.connections
        self._queue = Queue(
            self._engine,
            environment=self._settings.environment,
            lease=self._settings.lease_seconds,
            wake=self._settings.wake,
        )
        self._ledger = Ledger(self._engine)
        self._rulings = Rulings(
            self._engine, environment=self._settings.environment, transport=self._settings.relay.name
        )
        self._blame = Blame(
            Breaker(
                faults=self._settings.breaker_faults,
                first_probe=self._settings.probe_seconds,
                most=self._settings.probe_max_seconds,
            ),
            Refusals(self._settings.breaker_refusals),
        )
        self._looks_for_abandoned = Debounce(_ABANDONED_LOOK_SECONDS)
        self.events = Events()
        self.events.observe(self._note)
        self._jobs: Jobs | None = None
        self._is_turned = threading.Event()  # what the last heartbeat said of the relay is out of date
        self._tells = Debounce(_TURNED_SECONDS)
        self._receivers = Receivers(app)
        self.events.observe(self._receivers.observe)
        self._mail = bound_to(app)
        self._place = place
        self._stop = Stop(place.lifeline if place is not None else None)
        self._drains = False  # asked to end when nothing is due
        self._ticked = monotonic()
        self._wall = Steps(_STEP_SECONDS)
        self._presence = Presence(self._queue, self.events, dead_after=self._settings.dead_after_seconds)
        self._purger = operations.Purger(
            self._engine,
            environment=self._settings.environment,
            older_than=self._settings.retention_seconds,
            audit_older_than=self._settings.audit_retention_seconds,
        )
        self._purge_end = math.inf  # monotonic
        self._redactor = operations.Redactor(
            self._engine, self._settings.sensitive_kinds, environment=self._settings.environment
        )
        self._rate = Rate(self._ticked)
        self._meters = None if self._settings.metrics_port is None else Meters()
        self._monitor: Monitor | None = None
        self._progress = Progress()
        self._crew: Crew | None = None
        self._pause = threading.Event()
        tell_progress(self._engine)
        self._watchdog = Watchdog(
            self._progress,
            self._settings.database_timeout_seconds,
            lambda: self._crew.hangs if self._crew is not None else None,
            told_to_stop=self._stop.is_set,
            grace=self._settings.shutdown_seconds,
            alive=place.alive if place is not None else lambda: None,
        )

    def run(self, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        with on_signals(self._stop):  # before the row is written: whoever sees it may send one
            return self._run(once=once, drain=drain, progress=progress)

    def _run(self, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        settings, step = self._settings, self._progress.step
        self._watchdog.start()
        try:
            with step("checking the application's database"):
                if wrong := operations.another_database(self._engine, self._session_engine):
                    raise ConfigurationError([wrong])
            with step("checking the tables"):
                operations.check_schema(self._engine)
            with step("checking whether outcomes can be recorded"):
                operations.check_recording(self._engine)
            with step("registering the worker"), operations.guarded(self._engine):
                worker_id = self._presence.register(
                    host=socket.gethostname(), pid=os.getpid(), version=VERSION, connections=self._connections
                )
            if self._place is not None:
                self._place.registered(worker_id)
            crew = self._crew = self._new_crew(worker_id)
            self.events.emit(EventName.WORKER_STARTED, worker=worker_id, pid=os.getpid(), relay=settings.relay.name)
            with step("looking for dead workers"):
                self._presence.rescue()
            with step("reading the pauses"):
                self._heed_pauses(crew)
            with step("reading earlier attempts"):
                self._learn(crew)
            crew.start()
            with step("starting the metrics"):
                self._open_monitor(crew)
            code = self._watch(crew, once=once, drain=drain, progress=progress)
            self._purge_end = monotonic() + (PURGE_AT_END_SECONDS if once or drain else 0.0)
            if code in (0, UNSENT) and (once or drain):
                self._last_purge()
            if self._watchdog.hung:
                self._leave(crew)
            if self._stop.is_set():
                self.events.emit(EventName.WORKER_STOPPING, worker=worker_id, grace=settings.shutdown_seconds)
            code = self._end(crew, code, one_pass=once or drain)
            self._tell(progress, crew, 0 if code == 0 and not self._stop.is_set() else None)
            return code
        finally:
            self._watchdog.close()

    def _end(self, crew: Crew, code: int, *, one_pass: bool) -> int:
        """Stop in good order, as far as that is possible; the exit code."""
        self._watchdog.stopping()
        end = monotonic() + self._settings.shutdown_seconds
        recorded = crew.stop(self._settings.shutdown_seconds)
        self._receivers.close(max(_RECEIVERS_SECONDS, end - monotonic()))
        if recorded:
            with self._progress.step("deregistering the worker"):
                self._presence.retire(lambda: self._health(crew))
        else:  # not retired, so that its missing heartbeat tells the others to take over
            logger.error("not everything could be recorded or given back; another worker takes over")
            code = 1
        if one_pass and code != 1 and not self._stop.is_set():
            code = self._left(crew, stopped=code == UNSENT)
        if self._monitor is not None:
            self._monitor.stop()
        if hanging := self._hanging(crew):
            end_process(1, f"the worker could not stop cleanly: {hanging} hangs; the process exits")
        counts = " ".join(f"{name}:{count}" for name, count in crew.tally.counts.items())
        self.events.emit(EventName.WORKER_STOPPED, worker=self._presence.id, did=counts)
        return code

    def _leave(self, crew: Crew) -> None:
        """End the process though something hangs, and join nothing; what the relay has answered is recorded first."""
        logger.error("%s; the worker exits so that it can be restarted", self._watchdog.wrong() or "a thread hung")
        crew.leave()
        end_process(1)

    def _hanging(self, crew: Crew) -> str | None:
        """What has not come back after a stop; None: every thread has ended, or is about to."""
        end = monotonic() + _ENDING_SECONDS
        while (steps := self._progress.underway()) and monotonic() < end:
            self._pause.wait(0.02)
        return steps[0].what if steps else crew.hanging

    def _new_crew(self, worker_id: int) -> Crew:
        settings, learned = self._settings, Learned()
        return Crew(
            self._queue,
            self._ledger,
            worker_id,
            Terms(
                policy=RetryPolicy(
                    first=settings.retry_first_seconds,
                    most=settings.retry_max_seconds,
                    attempts=settings.max_attempts,
                    poison=settings.poison_rescues,
                    lead=settings.poll_seconds + settings.connect_timeout_seconds,
                    probe=settings.probe_max_seconds,
                ),
                lease=settings.lease_seconds,
                send_timeout=settings.send_timeout,
                dot_timeout=settings.relay.dot_timeout,
                suppress=settings.suppress_send,
                transport=settings.relay.name,
            ),
            self._blame,
            self._rulings,
            self.events,
            self._presence.pulse,
            progress=self._progress,
            connect=lambda waiting: Connection(self._mail, settings.relay, waiting=waiting, learned=learned),
            connections=self._connections,
            poll=settings.poll_seconds,
            idle=settings.relay.idle_timeout,
            chance=random.random,
            watch=of(self._engine).watch(self._engine) if settings.wake else None,
            meters=self._meters,
        )

    def _learn(self, crew: Crew) -> None:
        """From what was written down before this worker started: one that lives for a pass may see too little."""
        try:
            crew.learn(self._rulings.recent(2 * self._settings.breaker_refusals))
        except Exception as error:  # noqa: BLE001 - it learns as it goes, then
            logger.error("earlier attempts can't be read: %s", type(error).__name__)

    def _open_monitor(self, crew: Crew) -> None:
        port = self._settings.metrics_port
        if port is None or self._meters is None:
            return
        self.events.observe(self._meters.observe)
        queue = prometheus.Queue(self._engine, self._settings, meters=self._meters)
        queue.look()  # for the clock
        database = Readiness(self._engine)
        own = prometheus.Worker(self._meters, crew.health, lambda: self._presence.pulse.age(monotonic()), VERSION)
        self._monitor = Monitor(
            self._settings.metrics_host,
            port + self._place.number if port and self._place is not None else port,
            live=lambda: self._illness(crew),
            ready=lambda: database() or (None if crew.records else "outcomes can't be recorded"),
            metrics=lambda: prometheus.exposition(queue, own),
        )
        self._monitor.start()

    def _illness(self, crew: Crew) -> str | None:
        """Why the process had better be started anew; None while its threads do their duty."""
        if not crew.alive:
            return "a thread of the worker has died"
        return self._watchdog.wrong() or ("the scheduler has stopped" if self._late() else None)

    def _new_jobs(self, crew: Crew) -> Jobs:
        settings = self._settings
        jobs = [
            Job("poll", settings.poll_seconds, lambda: self._poll(crew)),
            # at once: the last one may be long ago
            Job("heartbeat", settings.heartbeat_seconds, lambda: self._beat(crew), at_once=True),
            Job("check for pauses", PAUSES_SECONDS, lambda: self._look(crew)),
            Job("purge", PURGE_SECONDS, self._purge, at_once=True),
        ]
        if settings.sensitive_kinds:  # at once, too: what a worker has sent that lived for one pass alone
            jobs.append(Job("redaction", REDACT_SECONDS, self._redact, at_once=True))
        return Jobs(self._progress, *jobs)

    def _watch(self, crew: Crew, *, once: bool, drain: bool, progress: Progressed | None) -> int:
        """Wait for the end, with an eye on the scheduler from outside of it; the exit code."""
        self._stalled()  # the first reading of the wall clock
        jobs = self._jobs = self._new_jobs(crew)
        jobs.start()
        try:
            while not self._stop.wait(0.05 if once or drain else _WATCH_SECONDS):
                if crew.fault.is_set() or self._watchdog.hung:
                    return 1
                if (once or drain or self._drains) and crew.wait_dry(0.05):
                    return 0
                if once and crew.down:
                    return UNSENT
                if monotonic() >= self._end_at:
                    self._stop.set()
                self._tell(progress, crew)
                if fault := self._stalled():
                    self._presence.mended(fault)
                    jobs.restart()
        finally:
            jobs.stop()
        return 0

    def _tell(self, progress: Progressed | None, crew: Crew, due: int | None = None) -> None:
        if progress is not None:
            with self._progress.step("counting what is due"):
                progress(crew.tally.counts, self._queue.due() if due is None else due)

    def _left(self, crew: Crew, *, stopped: bool = False) -> int:
        """The exit code after one pass: UNSENT if what was due stays queued for a fault of relay or account."""
        settings, relay = self._settings, self._settings.relay.name
        with self._progress.step("counting what is left"):
            pauses = self._queue.pauses()
            with reading(self._engine) as connection:
                left = operations.left_due(connection, settings.environment, pauses, relay, stopped=stopped)
        unsent = crew.tally.unsent | crew.tally.broken
        left |= unsent.keys()
        if not left:
            return 0
        why = next(reversed(unsent.values()), None) or crew.health()["transport"]["error"]
        why = why or next((one.reply or one.reason for one in pauses if one.automatic), "")
        logger.error(
            "%s could not be sent through %s and will be retried (%s): see outbox-status and outbox-check",
            "1 due delivery" if len(left) == 1 else f"{len(left)} due deliveries",
            relay,
            why,
        )
        return UNSENT

    def _poll(self, crew: Crew) -> None:
        self._ticked = monotonic()
        self._receivers.look()
        crew.nudge()

    def _stalled(self) -> str | None:
        """A dead scheduler thread says that it runs; and a wall clock stepped back stops its jobs for as long."""
        began = monotonic()
        step = self._wall.saw(utcnow().timestamp(), began, monotonic())
        if not step and not self._late():
            return None
        self._ticked = monotonic()
        if step:
            return f"the wall clock jumped by {step:+.0f} s: the scheduler was restarted"
        return "the scheduler had stopped: restarted"

    def _late(self) -> bool:
        return monotonic() - self._ticked >= 3 * self._settings.poll_seconds + _STALL_SECONDS

    def _beat(self, crew: Crew) -> None:
        if self._monitor is not None:
            self._monitor.start()  # its port may have been taken by the worker before
        if not self._watchdog.wrong():  # else the others shall take over
            self._is_turned.clear()
            self._presence.beat(lambda: self._health(crew))
            self._heed_request()

    def _heed_request(self) -> None:
        """A person may ask on the pages for this worker's end."""
        if self._stop.is_set() or self._drains:
            return
        try:
            asked = self._queue.asked(self._presence.id)
        except Exception as error:  # noqa: BLE001 - the next heartbeat looks again
            logger.debug("whether the worker is asked to end can't be read: %s", type(error).__name__)
            return
        if asked == "stop":
            self._stop.set()
        self._drains = asked == "drain"

    def _health(self, crew: Crew) -> dict[str, Any]:
        return crew.health() | {"per_second": self._rate.seen(crew.tally.counts["sent"], monotonic())}

    def _note(self, event: Event) -> None:
        """The status shows what the last heartbeat said of the relay: it must not wait for the next."""
        if event.name in {EventName.TRANSPORT_DOWN, EventName.TRANSPORT_UP}:
            self._is_turned.set()
            self._show_relay()

    def _show_relay(self) -> None:
        if self._jobs is not None and self._is_turned.is_set() and self._tells.passes():
            self._jobs.soon("heartbeat")

    def _look(self, crew: Crew) -> None:
        self._show_relay()  # what came too soon after the last, or while the heartbeat was being written
        self._heed_pauses(crew)

    def _heed_pauses(self, crew: Crew) -> None:
        try:
            pauses, name = self._queue.pauses(), self._settings.relay.name
            crew.hold(Held.by(pauses, {name}), [one for one in pauses if one.is_to_probe and one.transport == name])
            if any(one.is_to_probe and one.transport != name for one in pauses):
                self._end_abandoned()
        except Exception as error:  # noqa: BLE001 - the claims, too, wait for the database
            logger.debug("the pauses can't be read: %s", type(error).__name__)

    def _end_abandoned(self) -> None:
        """The pauses of a transport that was taken out of the settings: nobody would ever probe them."""
        if self._looks_for_abandoned.passes():
            for what, value, transport in self._rulings.end_abandoned():
                logger.info("the pause of %s %s ends: no worker uses %s any more", what, value, transport)
                self.events.emit(EventName.SCOPE_RELEASED, what=what, value=value, transport=transport)

    def _purge(self) -> None:
        self._purger.run(self._purge_waits)

    def _last_purge(self) -> None:
        """A worker that lives for one pass alone purges, too."""
        with self._progress.step("the purge"):
            try:
                self._purge()
            except Exception as error:  # noqa: BLE001 - the next pass tries again
                logger.error("the purge failed: %s", first_line(error))

    def _purge_waits(self, seconds: float) -> bool:
        """Wait between two batches; whether it is time to stop."""
        got_on()
        left = self._purge_end - monotonic()
        return left <= 0.0 or self._stop.wait(min(seconds, left))

    def _redact(self) -> None:
        try:
            self._redactor.run()
        except Exception as error:  # noqa: BLE001 - the next run goes on
            logger.error("could not redact sensitive mail, retrying: %s", first_line(error))
