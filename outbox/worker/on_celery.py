"""The outbox on Celery: a task for what was committed, a sweep for what no task came for, an engine in each process.

The database decides everything. A task only says when to look: one that is lost, late, doubled or out of order changes
nothing but the time at which a message is sent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from celery import Celery, signals
from flask import Flask

from outbox.core.clock import monotonic
from outbox.core.errors import OutboxError
from outbox.core.events import first_line, logger
from outbox.extension.outbox import outbox_of
from outbox.extension.signals import message_queued
from outbox.extension.state import Bound, bound_to
from outbox.store.due import due_of
from outbox.store.failures import OUTAGES
from outbox.worker.engine import Engine
from outbox.worker.publisher import Publisher

DELIVER, SWEEP = "outbox.deliver", "outbox.sweep"

_EXTENSION = "outbox.celery"
_PATIENCE_SECONDS = 30.0  # for room in a worker that has enough to do
_TRUSTED_SECONDS = (
    20.0  # a connection to the broker that was idle for longer is replaced: its end may not have been noticed
)


def connect(celery_app: Celery, flask_app: Flask, *, connections: int | None = None) -> None:
    """Send the mail of `flask_app` by workers of `celery_app`.

    To be called where both are made, once the outbox is bound (`mail.init_app`): in the web processes, for Celery's
    workers and for beat alike. It registers the tasks `outbox.deliver` and `outbox.sweep`, puts the latter on the
    schedule, every OUTBOX_SWEEP_SECONDS, and publishes a task after each commit that has mail.

    `connections`: to each transport from each process of a Celery worker; by default those of OUTBOX_CONNECTIONS, or
    the transport's own, divided among its processes. Raises NotBoundError if `flask_app` has no outbox.
    """
    bound = bound_to(flask_app)
    if (before := bound.app.extensions.get(_EXTENSION)) is not None:
        before.disconnect()
    bound.app.extensions[_EXTENSION] = _OnCelery(celery_app, bound, connections)


class _OnCelery:
    """One pair of applications."""

    def __init__(self, celery_app: Celery, bound: Bound, connections: int | None) -> None:
        self._celery = celery_app
        self._flask = bound.app
        self._connections = connections
        self._processes = 1
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = os.getpid()
        self._broker = _Broker(celery_app)
        self._publisher = Publisher(self._due_of, self._broker.publish)
        self._register(celery_app.task)
        self._schedule(bound.settings.sweep_seconds)
        signals.beat_init.connect(self._beat_begins)
        signals.celeryd_after_setup.connect(self._worker_begins)
        signals.worker_process_init.connect(self._process_begins)
        signals.worker_process_shutdown.connect(self._process_ends)
        signals.worker_shutdown.connect(self._process_ends)
        message_queued.connect(self._queued, sender=bound.app)

    def _register(self, task: Any) -> None:
        @task(name=DELIVER, ignore_result=True, shared=False)  # type: ignore[untyped-decorator]
        def deliver(delivery_ids: Sequence[int]) -> None:
            """Send these deliveries, whichever are due."""
            self._deliver(delivery_ids)

        @task(name=SWEEP, ignore_result=True, shared=False)  # type: ignore[untyped-decorator]
        def sweep() -> None:
            """Send what is due and no task came for."""
            self._sweep()

    def flush(self, timeout: float) -> None:
        """Wait until tasks are published for all that was committed, for at most `timeout` seconds."""
        self._publisher.flush(timeout)

    def disconnect(self) -> None:
        """Another one takes its place."""
        message_queued.disconnect(self._queued, sender=self._flask)
        for signal, receiver in (
            (signals.beat_init, self._beat_begins),
            (signals.celeryd_after_setup, self._worker_begins),
            (signals.worker_process_init, self._process_begins),
            (signals.worker_process_shutdown, self._process_ends),
            (signals.worker_shutdown, self._process_ends),
        ):
            signal.disconnect(receiver)
        self._process_ends()

    def _queued(self, app: Flask, *, message_id: str, **_: Any) -> None:
        if not (app.testing or self._celery.conf.task_always_eager):  # else the task would run, in a thread, here
            self._publisher.queued(message_id)

    def _due_of(self, message_ids: Sequence[str]) -> list[int]:
        return due_of(outbox_of(self._flask).database(self._flask), message_ids)

    def _deliver(self, delivery_ids: Sequence[int]) -> None:
        try:
            room = self._running().deliver([int(one) for one in delivery_ids], _PATIENCE_SECONDS)
        except (OutboxError, *OUTAGES) as error:
            logger.error("%s: %s. The next outbox.sweep finds it.", DELIVER, first_line(error))
        else:
            if not room:
                logger.warning("%s: this worker has too much to do. The next outbox.sweep finds it.", DELIVER)

    def _sweep(self) -> None:
        try:
            self._running().sweep()
        except (OutboxError, *OUTAGES) as error:
            logger.error("%s: %s", SWEEP, first_line(error))

    def _running(self) -> Engine:
        """The engine of this process, kept between tasks."""
        with self._lock:
            if self._engine is None or self._pid != os.getpid() or self._engine.ended:
                self._pid = os.getpid()
                engine = Engine(self._flask, name="celery", connections=self._connections, share=self._processes)
                engine.start()
                self._engine = engine
            return self._engine

    def _schedule(self, seconds: float) -> None:
        # Counted by the broker, if it can: `expires` is a time of day, and a worker whose clock is ahead would throw
        # each sweep away. Where it can't, old ones cost nothing: each only asks for a look at the queue.
        entry = {"schedule": seconds, "task": SWEEP, "options": {"expiration": seconds}}
        self._entry = entry
        if not self._celery.configured:
            self._celery.add_periodic_task(seconds, self._celery.signature(SWEEP), name=SWEEP, expiration=seconds)
        else:
            self._celery.conf.beat_schedule.setdefault(SWEEP, entry)

    def _beat_begins(self, sender: Any, **_: Any) -> None:
        """A schedule that was set after `connect` has none of it."""
        if sender.app is self._celery:
            sender.app.conf.beat_schedule.setdefault(SWEEP, self._entry)

    def _worker_begins(self, instance: Any, **_: Any) -> None:
        """Before its processes are forked."""
        if instance.app is self._celery and instance.pool_cls.__module__ == "celery.concurrency.prefork":
            self._processes = max(1, int(instance.autoscale[0] if instance.autoscale else instance.concurrency))

    def _process_begins(self, **_: Any) -> None:
        """Forked: the connections of the application's own pool are its parent's."""
        self._lock = threading.Lock()
        self._engine = None
        bound_to(self._flask).sessions.forget()

    def _process_ends(self, **_: Any) -> None:
        if self._engine is not None and self._pid == os.getpid():
            self._engine.stop()


class _Broker:
    """A connection to the broker, kept between commits. For one thread."""

    def __init__(self, celery_app: Celery) -> None:
        self._celery = celery_app
        self._pid = 0
        self._used_at = 0.0
        self._link: Any = None
        self._producer: Any = None

    def publish(self, ids: list[int]) -> None:
        """Raises whatever the broker's client raises."""
        idle = monotonic() - self._used_at
        if self._pid != os.getpid() or self._producer is None or idle > _TRUSTED_SECONDS:
            self._open()
            self._send(ids)
            return
        try:
            self._send(ids)
        except Exception:  # noqa: BLE001 - it may have been lost since the last time
            self._open()
            self._send(ids)

    def _send(self, ids: list[int]) -> None:
        self._celery.send_task(DELIVER, (ids,), producer=self._producer, retry=False, ignore_result=True)
        self._used_at = monotonic()

    def _open(self) -> None:
        if self._link is not None and self._pid == os.getpid():
            self._link.close()
        self._producer = None
        self._pid = os.getpid()
        self._link = self._celery.connection_for_write(heartbeat=0)
        self._producer = self._celery.amqp.Producer(self._link, auto_declare=False)
