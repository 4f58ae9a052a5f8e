"""Faults that a worker commits on demand, since no input is known that makes it do so.

STORY_POISON     "raise", "kill" or "hang": what delivering to poison@example.org does
STORY_SCHEDULER  a file; once it exists, it is removed and the scheduler's thread dies
STORY_HANG       "claim FILE", "record FILE", …: once the file exists, that call of the database never returns;
                 FILE.hangs tells that one was made. "claim FILE once": only the first, which removes the file
STORY_SLEPT      a file with a number of seconds that the machine's monotonic clock has not counted
STORY_STOPPED    the same, and CLOCK_BOOTTIME has not counted them either: a virtual machine
STORY_LOG        text: the application logs by itself, and its handler hangs at a line that has the text in it
STORY_RECEIVER   an address: the receiver of delivery_sent never returns when it is told of that recipient
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import types
from collections.abc import Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

POISON = "poison@example.org"


def commit(environ: Mapping[str, str]) -> None:
    """Set up what the environment asks for."""
    if "STORY_POISON" in environ:
        _poison(environ["STORY_POISON"])
    if "STORY_SCHEDULER" in environ:
        _scheduler(Path(environ["STORY_SCHEDULER"]))
    if "STORY_LOG" in environ:
        _log(environ["STORY_LOG"])
    if "STORY_RECEIVER" in environ:
        _receiver(environ["STORY_RECEIVER"])
    if "STORY_HANG" in environ:
        _hang(*environ["STORY_HANG"].split())
    for name in ("STORY_SLEPT", "STORY_STOPPED"):
        if name in environ:
            _slept(Path(environ[name]), all_clocks=name == "STORY_STOPPED")


def _log(text: str) -> None:
    class Handler(logging.StreamHandler[Any]):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                threading.Event().wait()
            super().emit(record)

    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s", handlers=[Handler()])


def _receiver(address: str) -> None:
    from outbox import delivery_sent
    from outbox.extension import receivers

    def hang(app: Any, *, recipient: str, **more: Any) -> None:
        if recipient == address:
            threading.Event().wait()

    receivers.PATIENCE_SECONDS = 1.0
    delivery_sent.connect(hang, weak=False)


def _hang(name: str, file: str, once: str = "") -> None:
    from outbox import operations
    from outbox.store.queue import Queue
    from outbox.store.record import OutcomeStore

    owner: Any = {"record": OutcomeStore, "missing": operations}.get(name, Queue)
    call, fault = getattr(owner, name), Path(file)
    told = fault.with_suffix(".hangs")

    def hanging(*arguments: Any, **options: Any) -> Any:
        if fault.exists():
            if once:
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    fault.rename(told)
                    threading.Event().wait()
            else:
                told.touch()
                threading.Event().wait()
        return call(*arguments, **options)

    setattr(owner, name, hanging)


def _slept(file: Path, *, all_clocks: bool) -> None:
    from outbox.core import clock

    def uncounted() -> float:
        return float(file.read_text() or 0)

    kinds = {name: getattr(time, name) for name in dir(time)}
    kinds["monotonic"] = lambda: time.monotonic() - uncounted()
    if all_clocks:
        kinds["clock_gettime"] = lambda number: time.clock_gettime(number) - uncounted()
    clock.time = types.SimpleNamespace(**kinds)  # type: ignore[assignment]


def _poison(how: str) -> None:
    from outbox.smtp.connection import Connection

    deliver = Connection.deliver

    def poisoned(self: Connection, envelope: Any, content: Any, **options: Any) -> Any:
        if envelope.recipient == POISON:
            match how:
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "hang":
                    threading.Event().wait()
            raise RuntimeError("this mail crashes what touches it")
        return deliver(self, envelope, content, **options)

    Connection.deliver = poisoned  # type: ignore[method-assign]


def _scheduler(fault: Path) -> None:
    from apscheduler.schedulers import base as schedulers

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            if fault.exists():
                fault.unlink()
                raise RuntimeError("the scheduler's thread dies of this")
            return datetime.now(tz)

    schedulers.datetime = Clock
