"""Several workers on one machine: children of one process that starts them again when they die, and passes on its end.

The children are forked, so that they share what was imported. The supervisor itself sends no mail and waits for no
database once they run: what a dead child held is released by a process that is there for that alone. Should it be
killed, its children end cleanly by themselves: they watch a pipe that only it holds open. Not for Windows, which
can't fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from flask import Flask

from outbox import operations
from outbox.core.clock import awake, monotonic
from outbox.core.errors import ConfigurationError, OutboxError
from outbox.core.events import EventName, Events, logger
from outbox.core.shutdown import Stop, on_signals
from outbox.extension.outbox import outbox_of
from outbox.extension.state import bound_to
from outbox.worker import build
from outbox.worker import process as worker_process
from outbox.worker.place import Place, signs_of_life
from outbox.worker.reaper import Reaper
from outbox.worker.service_manager import notify
from outbox.worker.watchdog import LEAVE_SECONDS, NOTICE_SECONDS, STOP_SECONDS, end_process

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
SOUND_SECONDS = 60.0
"""A child that lived this long is restarted at once; else the pauses double."""

_WATCH_SECONDS = 1.0
_CONFIRM_SECONDS = STOP_SECONDS + 5.0  # beyond the grace period of a stop, until a child is killed
_SILENT_SECONDS = NOTICE_SECONDS + LEAVE_SECONDS + 10.0  # a child that hangs has ended by itself by then, if it can
_JUMP_SECONDS = 5.0  # the supervisor itself did not run for this long: neither did its children, perhaps


def run(app: Flask, count: int, *, once: bool = False, drain: bool = False, connections: int | None = None) -> int:
    """Keep `count` workers running until told to stop, or until all have come to their end; the exit code.

    0: all ended cleanly. 1: at least one did not. Raises what `process.run` raises, before any is started.
    """
    if not hasattr(os, "fork"):
        raise ConfigurationError(
            ["--processes needs fork(), which this system lacks: start several outbox-sender processes instead."]
        )
    return _Supervisor(app, count, once=once, drain=drain, connections=connections).run()


@dataclass(slots=True)
class _Child:
    """One place among the children, and who holds it."""

    number: int
    process: ForkProcess | None = None
    words: Connection | None = None  # on which the child tells its worker's id, and that it can run
    worker_id: int | None = None
    started: float = 0.0
    heard_at: float = 0.0
    pause: float = 0.0
    start_at: float = 0.0
    ended: bool = False  # came to its end, and is not started again


@dataclass
class _Supervisor:
    app: Flask
    count: int
    once: bool
    drain: bool
    connections: int | None
    _children: list[_Child] = field(default_factory=list)
    _code: int = 0

    def __post_init__(self) -> None:
        outbox = outbox_of(self.app)
        self._settings = outbox.settings(self.app)
        with self.app.app_context():
            self._engine = outbox.database(self.app)
        self._limit = self._settings.database_timeout_seconds
        self._events = Events()
        self._fork = multiprocessing.get_context("fork")
        self._stop = Stop()
        self._lifeline, self._held_open = os.pipe()
        queue = build.queue(self._engine, self._settings)
        self._reaper = Reaper(self._fork, queue, self._limit, lambda: os.close(self._held_open))
        self._children = [_Child(number) for number in range(self.count)]
        port = self._settings.metrics_port
        if port and port + self.count - 1 > 65_535:
            raise ConfigurationError(["OUTBOX_METRICS_PORT is too high: each process uses the next port."])

    def run(self) -> int:
        try:
            self._check_database()
            with on_signals(self._stop, at_once=self._kill):
                self._supervise()
                self._end()
        finally:
            os.close(self._lifeline)
            os.close(self._held_open)
        return self._code

    def _check_database(self) -> None:
        try:
            lacking = operations.missing(self._engine)
            if lacking:
                raise ConfigurationError([operations.unmigrated(lacking)])
        finally:
            self._engine.dispose()  # no connection is there to be forked

    def _supervise(self) -> None:
        looked_at = awake()
        while not self._stop.is_set() and not all(child.ended for child in self._children):
            now = monotonic()
            for child in self._children:
                if child.process is None and not child.ended and child.start_at <= now:
                    self._start(child)
            self._tell_manager()
            self._wait(_WATCH_SECONDS)
            for child in self._dead():
                self._child_ended(child)
            if awake() - looked_at < _JUMP_SECONDS:
                self._end_silent()
            looked_at = awake()
            self._reaper.look()

    def _tell_manager(self) -> None:
        """It is ready once the children have registered; that it looks after them shows that it is not stuck."""
        ready = all(child.worker_id is not None or child.ended for child in self._children)
        notify("READY=1\nWATCHDOG=1" if ready else "WATCHDOG=1")

    def _start(self, child: _Child) -> None:
        child.words, theirs = self._fork.Pipe(duplex=False)
        child.worker_id = None
        process = self._fork.Process(target=self._be_a_worker, args=(child.number, theirs))
        sys.stdout.flush(), sys.stderr.flush()
        process.start()
        theirs.close()
        child.process = process
        child.started, child.heard_at = monotonic(), awake()

    def _be_a_worker(self, number: int, words: Connection) -> None:
        """In the child."""
        os.setpgid(0, 0)  # Ctrl-C is for the supervisor, which passes it on: a second signal would end at once
        os.close(self._held_open)
        for number_of_signal in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number_of_signal, lambda *_: os._exit(0))  # until the worker is there to stop cleanly
        if self._stop.is_set():  # by a signal that came in between
            os._exit(0)
        try:
            with self.app.app_context():
                bound_to(self.app).sessions.forget()
            place = Place(number=number, stop=Stop(self._lifeline), registered=words.send, alive=signs_of_life(words))
            code = worker_process.run(
                self.app, once=self.once, drain=self.drain, connections=self.connections, place=place
            )
        except OutboxError as error:
            logger.error("worker process %d can't run: %s", number, error)
            code = 2
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it is
            traceback.print_exc()
            code = 1
        end_process(code)

    def _wait(self, timeout: float) -> None:
        """Until a child ends, a signal comes, or for so many seconds."""
        sentinels: list[int] = [child.process.sentinel for child in self._children if child.process is not None]
        pauses = [child.start_at - monotonic() for child in self._children if child.process is None and not child.ended]
        wait([*sentinels, *self._reaper.sentinels, self._stop.fileno()], max(0.0, min([timeout, *pauses])))

    def _dead(self) -> Iterator[_Child]:
        for child in self._children:
            if child.process is not None and child.process.exitcode is not None:
                yield child

    def _listen(self, child: _Child) -> None:
        """Take in what a child has said; one that died in the middle of it, or before, has said no more."""
        assert child.words is not None  # noqa: S101
        with suppress(EOFError, OSError):
            while child.words.poll():
                worker_id = child.words.recv()
                child.heard_at = awake()
                child.worker_id = worker_id or child.worker_id

    def _end_silent(self) -> None:
        """Kill children that can't even run; what else hangs in one, it finds by itself."""
        for child in self._children:
            if child.process is None:
                continue
            self._listen(child)
            silence = awake() - child.heard_at
            if silence > self._limit + _SILENT_SECONDS:
                logger.error("worker process %d has not responded for %.0f s: killing it", child.process.pid, silence)
                child.process.kill()

    def _child_ended(self, child: _Child, *, stopping: bool = False) -> None:
        """Read its last words, rescue what it held, and decide whether it is started again."""
        process, words = child.process, child.words
        assert process is not None and words is not None and process.exitcode is not None  # noqa: S101, PT018
        self._listen(child)
        words.close()
        process.join()
        code = process.exitcode
        child.process = child.words = None
        unsent = code == worker_process.UNSENT  # else it ended cleanly
        if code and not unsent and child.worker_id is not None:
            self._reaper.add(child.worker_id)
        if stopping or ((code == 0 or unsent) and (self.once or self.drain)):
            child.ended = True
            self._code = self._code or (1 if code else 0)
            return
        lived = monotonic() - child.started
        child.pause = 0.0 if lived > SOUND_SECONDS else min(max(FIRST_PAUSE, child.pause * 2), LONGEST_PAUSE)
        child.start_at = monotonic() + child.pause
        self._events.emit(
            EventName.WORKER_FAULT,
            worker=child.worker_id,
            pid=process.pid,
            reason=f"the process ended by {_how(code)}; started again in {child.pause:.1f} s",
        )

    def _end(self) -> None:
        """Pass the end on, and wait for it."""
        deadline = monotonic() + self._settings.shutdown_seconds + _CONFIRM_SECONDS
        for child in self._children:
            if child.process is not None:
                child.process.terminate()
        while living := list(self._living()):
            wait([child.process.sentinel for child in living if child.process], _WATCH_SECONDS)
            for child in list(self._dead()):
                self._child_ended(child, stopping=True)
            if monotonic() > deadline:
                self._kill()
        self._reaper.end()

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.kill()

    def _living(self) -> Iterator[_Child]:
        return (child for child in self._children if child.process is not None)


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
