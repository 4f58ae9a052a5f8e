"""A worker inside a process that others run and end: no signals, no exit, no polling of its own.

It is made of the same parts as `process.Worker`, has a row and a heartbeat like any other, and claims what it is asked
for. Once it can't go on it only stops its heartbeat: what it held is due again for others, and a new one takes its
place here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from flask import Flask

from outbox.core.clock import awake, monotonic
from outbox.core.events import Event, EventName, logger
from outbox.core.shutdown import Stop
from outbox.extension.outbox import outbox_of
from outbox.worker.asked import Asked
from outbox.worker.claimer import CLAIM_PER_CONNECTION
from outbox.worker.one_cpu import OneProcessor
from outbox.worker.parts import Parts

_WATCH_SECONDS = 1.0  # between two looks at the threads
_JUMP_SECONDS = 5.0  # the watching thread did not run for this long: nor did the others, perhaps
_LATER_SECONDS = 0.1  # from when mail is due again until it is looked for
_END_SECONDS = 15.0  # beyond the grace period, for a stop to come back


class Engine:
    """One worker, from `start` until it has `ended`."""

    def __init__(self, app: Flask, *, name: str, connections: int | None = None, share: int = 1) -> None:
        """`name`: by which the status shows it. `connections`: to each transport; None: as the settings say, divided by
        `share`, the number of processes that have an engine."""
        outbox = outbox_of(app)
        relays = outbox.settings(app).transports
        divided = tuple(replace(one, connections=connections or max(1, one.connections // share)) for one in relays)
        self._name = name
        self._settings = settings = replace(outbox.settings(app), transports=divided)
        self._stop = Stop()
        with app.app_context():
            self._parts = Parts(app, settings, self._stop, wake=False)
        self._parts.events.observe(self._note)
        self._asked = {one.name: Asked(one.connections * CLAIM_PER_CONNECTION) for one in divided}
        self._watching = threading.Thread(target=self._watch, name="outbox-engine", daemon=True)
        self._given_up: str | None = None

    def start(self) -> None:
        """Register, and be ready to claim. Raises what `build.check` raises, or DatabaseError."""
        parts = self._parts
        parts.register(None)
        self._pools = parts.pools(None, asked=self._asked)
        pauses = parts.begin(self._pools)
        own_threads = partial(OneProcessor, own=False)
        self._jobs = parts.jobs(self._pools, pauses, one_cpu=own_threads, health=self._health, hangs=self._wrong)
        parts.stall.look()  # the first reading of the wall clock
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

    def _health(self) -> dict[str, Any]:
        return self._parts.health(self._pools) | {"engine": self._name}

    def _note(self, event: Event) -> None:
        """What is due again soon is looked for then: no task will come for it."""
        if event.name in {EventName.RETRIED, EventName.RELEASED} and not self._stop.is_set():
            self.sweep((event.facts.get("delay") or 0.0) + _LATER_SECONDS)

    def _wrong(self) -> str | None:
        """Why this engine can't go on; None while it can."""
        if self._given_up is not None:
            return self._given_up
        died = "a thread of the worker has died" if self._pools.faulty else None
        stuck = self._parts.progress.stuck(self._settings.database_timeout_seconds)
        return died or stuck or self._pools.hangs

    def _watch(self) -> None:
        """Until it is to stop, or can't go on."""
        looked_at = awake()
        while not self._stop.wait(_WATCH_SECONDS):
            gap, looked_at = awake() - looked_at, awake()
            if gap > _JUMP_SECONDS:
                self._parts.progress.excuse(gap)
            elif wrong := self._wrong():
                self._give_up(wrong)
                return
            self._parts.repair(self._jobs)
            if self._parts.requests.outdated or (self._parts.requests.drains and self._pools.wait_dry(0.05)):
                break
        self._end()

    def _give_up(self, wrong: str) -> None:
        logger.error("%s; another worker takes over what it held", wrong)
        self._given_up = wrong
        self._jobs.stop()
        self._pools.leave()
        self._parts.effects.leave()

    def _end(self) -> None:
        grace = self._settings.shutdown_seconds
        self._parts.stopping(grace)
        self._stop.set()
        self._jobs.stop()
        for asked in self._asked.values():
            asked.drop()
        self._parts.end(self._pools, grace, self._health)
        self._parts.stopped(self._pools)
