"""The worker inside the process of a web server: it starts and stops with it, and never ends it.

What hangs in it is left alone, its heartbeat ends, and another one takes its place after a pause: the fence of every
write (the lease's token) makes late words of the first one harmless.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import thread as _pool  # noqa: F401 - what it does at the end is to come after what is ours
from typing import TYPE_CHECKING, Any

from flask import Flask

from outbox import operations
from outbox.core.clock import Debounce, monotonic
from outbox.core.errors import OutboxError
from outbox.core.events import logger
from outbox.core.shutdown import Stop
from outbox.extension.outbox import outbox_of
from outbox.extension.serving import Server
from outbox.extension.signals import message_queued
from outbox.store.databases import of
from outbox.worker.place import Place
from outbox.worker.process import Worker
from outbox.worker.seat import Seat
from outbox.worker.watchdog import STOP_SECONDS

if TYPE_CHECKING:
    from sqlalchemy import Engine

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
SOUND_SECONDS = 60.0
"""A worker that ran this long is started again at once; else the pauses double."""

SEAT_SECONDS = 1.0
"""How often a process without a worker looks whether the one with it has ended."""

_LOOK_SECONDS = 0.25
_GIVE_WAY_SECONDS = 0.002
_MOST_LEFT_ALONE = 5  # workers that hang in one process: each keeps its threads and connections


def run(app: Flask, mode: str, server: Server) -> None:
    """Keep a worker of `app` running in this process until `server` ends. `mode`: "process", or "host"."""
    try:
        keeper = _Keeper(app, server, mode)
    except OutboxError as error:
        logger.error("no worker runs in this process: %s", error)
        return
    _at_exit(keeper.end)
    keeper.run()


class _Keeper:
    def __init__(self, app: Flask, server: Server, mode: str) -> None:
        """Raises OutboxError where no worker can ever run here."""
        self._app = app
        self._server = server
        self._pid = os.getpid()
        self._ending = threading.Event()
        self._over = threading.Event()
        self._worker: Worker | None = None
        self._stop = Stop()
        self._said: str | None = None
        self._left_alone = 0
        outbox = outbox_of(app)
        self._settings = outbox.settings(app)
        with app.app_context():
            self._engine = outbox.database(app)
        if (why := _hindrance(self._engine)) is not None:
            raise OutboxError(f"{why} Start outbox-sender beside the server instead.")
        place = f"{operations.place(self._engine.url)} {self._settings.environment}"
        self._seat = Seat(place) if mode == "host" else None
        grace = server.grace
        self._grace = math.inf if grace is None else grace
        # not for each message of a commit; gevent's other greenlets have no business within it
        self._gives_way = Debounce(_GIVE_WAY_SECONDS).passes if not _is_patched("time") else bool
        message_queued.connect(self._queued, app)

    def run(self) -> None:
        """Until the server ends, or the worker was asked to."""
        pause = 0.0
        try:
            while not self._waits(pause) and self._left_alone < _MOST_LEFT_ALONE:
                began = monotonic()
                try:
                    if self._seat is not None and not self._seat.take():
                        pause = SEAT_SECONDS
                        continue
                    if self._one() == 0:
                        break
                except OutboxError as error:
                    self._say(str(error))
                except Exception as error:  # noqa: BLE001 - the server goes on, whatever it is
                    self._say(f"{type(error).__name__}: {error}")
                sound = monotonic() - began > SOUND_SECONDS
                pause = FIRST_PAUSE if sound else min(max(FIRST_PAUSE, pause * 2), LONGEST_PAUSE)
        finally:
            message_queued.disconnect(self._queued, self._app)
            if self._seat is not None:
                self._seat.leave()
            self._over.set()
        if self._left_alone >= _MOST_LEFT_ALONE:
            logger.error("%d workers hang in this process: no other is started until the server is.", self._left_alone)

    def end(self) -> None:
        """The process is about to end: let the worker finish what it is sending."""
        if self._pid == os.getpid() and not self._over.is_set():
            self._ending.set()
            self._stop.set()
            self._over.wait(min(self._grace, self._settings.shutdown_seconds) + STOP_SECONDS)

    def _one(self) -> int:
        """One worker, from its start to its end; its exit code. Raises what it raises."""
        stop = self._stop = Stop()
        ended, raised = threading.Event(), []
        codes = [1]

        def be_a_worker() -> None:
            try:
                with self._app.app_context():
                    worker = Worker(self._app, place=Place(own=False, stop=stop, grace=self._grace, leave=leave))
                    self._worker = worker
                    codes.append(worker.run(once=False, drain=False, progress=None))
            except BaseException as error:  # noqa: BLE001 - told below
                raised.append(error)
            ended.set()

        def leave(code: int, reason: str | None) -> None:
            if not ended.is_set():
                self._left_alone += 1
                logger.error("%s", reason or "the worker hangs and is left alone; another one takes its place")
                ended.set()

        threading.Thread(target=be_a_worker, name="outbox-worker", daemon=True).start()
        while not ended.wait(_LOOK_SECONDS):
            if self._waits(0.0):
                stop.set()
        self._worker = None
        if raised:
            raise raised[0]
        return codes[-1]

    def _waits(self, seconds: float) -> bool:
        """Wait so long; whether the server ends."""
        end = monotonic() + seconds
        while not self._ending.is_set() and (left := end - monotonic()) > 0 and not self._server.is_ending:
            self._ending.wait(min(left, _LOOK_SECONDS))
        return self._ending.is_set() or self._server.is_ending

    def _queued(self, app: Flask, **_: Any) -> None:
        """A commit of this process: nothing tells the worker sooner."""
        if (worker := self._worker) is not None and self._pid == os.getpid():
            worker.nudge()
            if self._gives_way():
                time.sleep(0)  # else its thread waits for the interpreter until this request blocks

    def _say(self, what: str) -> None:
        if what != self._said:  # not again and again while the tables are missing
            logger.error("the worker in this process can't run, and is started again: %s", what)
        self._said = what


def _hindrance(engine: Engine) -> str | None:
    if not _is_patched("threading"):
        return None
    if of(engine).in_process:
        return (
            "SQLite waits for its lock without letting gevent's other greenlets run, and the server would stand still."
        )
    if engine.driver == "psycopg2":
        return "psycopg2 lets no other greenlet of gevent run while it waits. Use psycopg."
    return None


def _is_patched(module: str) -> bool:
    """Whether gevent has its own in the place of a module's functions."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


def _at_exit(end: Callable[[], None]) -> None:
    """Call `end` when the interpreter begins to end, while the scheduler's executor still takes jobs."""
    register = getattr(threading, "_register_atexit", None)  # called in reverse order, before threads are joined
    if register is not None:
        register(end)
    atexit.register(end)
