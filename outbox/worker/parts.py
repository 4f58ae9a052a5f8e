"""What every worker is made of, in a process of its own or in one that others run: `process.Worker`, `engine.Engine`.

They differ in who ends them, and in what they claim.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask

from outbox import operations
from outbox.core.clock import monotonic
from outbox.core.events import EventName, Events, logger
from outbox.core.progress import Progress
from outbox.core.shutdown import Stop
from outbox.core.version import VERSION
from outbox.delivery.rate import Rate
from outbox.extension.outbox import outbox_of
from outbox.extension.receivers import Receivers
from outbox.extension.state import bound_to
from outbox.message.dkim.signer import Signer
from outbox.monitoring.counters import Meters
from outbox.monitoring.http import Monitor
from outbox.settings import Settings
from outbox.store.engines import tell_progress
from outbox.store.transports import Transports
from outbox.worker import batches, build, digests, duties, effects, signing
from outbox.worker.asked import Asked
from outbox.worker.idle_probe import IdleProbe
from outbox.worker.pools import Pools
from outbox.worker.registration import Health, Registration
from outbox.worker.requests import Requests
from outbox.worker.scheduler import Duty, Jobs
from outbox.worker.stall import Stall

_RECEIVERS_SECONDS = 1.0  # for what receivers are still to be told at the end of the grace period


class Parts:
    """Those of one worker. Within an application context."""

    def __init__(self, app: Flask, settings: Settings, stop: Stop, *, wake: bool) -> None:
        """`settings`: the application's, as they hold for this worker. `wake`: commits end a wait of the queue."""
        outbox = outbox_of(app)
        self.settings = settings
        self.bound = bound_to(app)
        self.engine = outbox.database(app)
        self._session_engine = outbox.application_database(app)
        self.queue = build.queue(self.engine, settings, wake=wake)
        self.events = Events()
        self.receivers = Receivers(app)
        self.events.observe(self.receivers.observe)
        self.registration = Registration(self.queue, self.events, dead_after=settings.dead_after_seconds)
        self.requests = Requests(self.engine, self.queue, self.registration, stop)
        self.purge = duties.Purge(build.purger(self.engine, settings, self.bound.kinds), stop)
        self.stall = Stall(settings.poll_seconds)
        self.effects = effects.of_application(self.engine, settings, self.bound)
        self.events.observe(self.effects.note)
        self.digests = digests.of_application(self.engine, settings, self.bound)
        self._stop = stop
        self.progress = Progress()
        self._rate = Rate(monotonic())
        self._signers: dict[str, Signer] = {}
        tell_progress(self.engine)

    def register(self, connections: int | None) -> int:
        """Enter the worker, if it can work here; its id. `connections` to each transport; None: as the settings say.

        Raises ConfigurationError, SchemaError or DatabaseError.
        """
        self.bound.listening.check(self.bound.sessions.has_source)
        build.check(self.engine, self._session_engine, self.progress.step)
        with self.progress.step("reading the DKIM keys"), operations.guarded(self.engine):
            self._signers = signing.signers(self.engine, self.settings)
        with self.progress.step("registering the worker"), operations.guarded(self.engine):
            return self.registration.register(
                host=socket.gethostname(),
                pid=os.getpid(),
                version=VERSION,
                connections=build.connections(self.settings, connections),
            )

    def pools(
        self,
        connections: int | None,
        *,
        meters: Meters | None = None,
        asked: Mapping[str, Asked] | None = None,
    ) -> Pools:
        """The threads that claim, send and record, not started yet. As `build.pools`."""
        return build.pools(
            self.bound,
            self.settings,
            self.engine,
            worker_id=self.registration.id,
            connections=connections,
            queue=self.queue,
            events=self.events,
            lease_guard=self.registration.lease_guard,
            progress=self.progress,
            meters=meters,
            asked=asked,
            signers=self._signers,
        )

    def begin(self, pools: Pools) -> duties.Pauses:
        """Start them, with what is known of pauses and earlier attempts."""
        step = self.progress.step
        relays = self.settings.relay_names
        self.events.emit(EventName.WORKER_STARTED, worker=self.registration.id, pid=os.getpid(), relay=relays)
        with step("looking for dead workers"):
            self.registration.rescue()
        pauses = build.pauses(pools, self.queue, self.settings, self.engine, self.events)
        with step("reading the pauses"):
            pauses.run()
        with step("reading earlier attempts"):
            build.learn(pools, self.engine, self.settings)
        pools.start()
        self.effects.start()
        self.digests.start()
        return pauses

    def jobs(
        self,
        pools: Pools,
        pauses: duties.Pauses,
        *,
        one_cpu: Callable[[], Duty] | None,
        health: Health,
        hangs: Callable[[], str | None],
        monitor: Monitor | None = None,
    ) -> Jobs:
        """What it does by the clock, not started yet. `one_cpu`: as `build.further_duties`."""
        heartbeat = duties.Heartbeat(
            self.settings.heartbeat_seconds, self.registration, health, self.requests, monitor=monitor, hangs=hangs
        )
        self.events.observe(heartbeat.note)
        pauses.before, heartbeat.ramps = heartbeat.hasten, lambda: pools.ramps
        wanted: list[Duty] = [
            duties.Poll(self.settings.poll_seconds, pools, self.receivers, self.stall),
            heartbeat,
            pauses,
            self.purge,
            batches.Batches(batches.rounds(self.engine, self.settings), self.effects.soon),
            *build.further_duties(self.engine, self.settings, self.bound, one_cpu),
            IdleProbe(
                pools,
                Transports(self.engine, self.settings.environment),
                self.settings.transports,
                self.events,
                mail=self.bound,
                worker_id=self.registration.id,
                seconds=self.settings.probe_seconds,
            ),
        ]
        jobs = Jobs(self.progress, *wanted)
        heartbeat.soon = lambda: jobs.soon(heartbeat.name)
        return jobs

    def repair(self, jobs: Jobs) -> None:
        """Start the scheduler again, if it has stopped or waits by a clock that was stepped."""
        if fault := self.stall.look():
            self.registration.repaired(fault)
            jobs.restart()

    def health(self, pools: Pools) -> dict[str, Any]:
        """For the worker's row."""
        return pools.health() | {"per_second": self._rate.seen(pools.totals.counts["sent"], monotonic())}

    def end(self, pools: Pools, grace: float, health: Health) -> bool:
        """Finish what is under way within `grace` seconds, give back the rest, deregister; whether all was recorded."""
        end = monotonic() + grace
        recorded = pools.stop(grace)
        self.effects.finish(max(_RECEIVERS_SECONDS, end - monotonic()), all=not self._stop.is_set())
        self.digests.finish(max(_RECEIVERS_SECONDS, end - monotonic()), all=not self._stop.is_set())
        self.receivers.close(max(_RECEIVERS_SECONDS, end - monotonic()))
        if recorded:
            with self.progress.step("deregistering the worker"):
                self.registration.retire(health)
        else:  # not retired, so that its missing heartbeat tells the others to take over
            logger.error("not everything could be recorded or given back; another worker takes over")
        return recorded

    def stopping(self, grace: float) -> None:
        """Tell that it begins to stop."""
        self.events.emit(EventName.WORKER_STOPPING, worker=self.registration.id, grace=grace)

    def stopped(self, pools: Pools) -> None:
        """Tell what it did."""
        counts = " ".join(f"{name}:{count}" for name, count in pools.totals.counts.items())
        self.events.emit(EventName.WORKER_STOPPED, worker=self.registration.id, did=counts)
