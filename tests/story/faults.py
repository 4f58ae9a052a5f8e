"""Faults that a worker commits on demand, since no input is known that makes it do so.

STORY_POISON   "raise", "kill" or "hang": what delivering to poison@example.org does
STORY_CLOCK    a file; once it exists, the scheduler's thread dies ("die" in it), or its wall clock is off by as many
               seconds as the file says
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

POISON = "poison@example.org"


def commit(environ: Mapping[str, str]) -> None:
    """Set up what the environment asks for."""
    if "STORY_POISON" in environ:
        _poison(environ["STORY_POISON"])
    if "STORY_CLOCK" in environ:
        _clock(Path(environ["STORY_CLOCK"]))


def _poison(how: str) -> None:
    from outbox.transport import Connection

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


def _clock(fault: Path) -> None:
    from apscheduler.executors import base as executors
    from apscheduler.schedulers import base as schedulers
    from apscheduler.triggers import interval

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            if not fault.exists():
                return datetime.now(tz)
            said = fault.read_text()
            if said == "die":
                fault.unlink()
                raise RuntimeError("the scheduler's thread dies of this")
            return datetime.now(tz) + timedelta(seconds=float(said))

    schedulers.datetime = executors.datetime = interval.datetime = Clock
