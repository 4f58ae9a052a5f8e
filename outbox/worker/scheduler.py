"""A worker's duties by the clock (poll, heartbeat, purge), on APScheduler.

The scheduler must be watched from outside it: a dead scheduler thread still says that it runs, and one that waits by a
wall clock that was stepped back does nothing for as long. `restart` is the cure for both.
"""

from __future__ import annotations

import logging
from datetime import UTC
from typing import Protocol

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from outbox.core.clock import utcnow
from outbox.core.events import logger
from outbox.core.progress import Progress


class Duty(Protocol):
    """Something to do again and again. A run that raises is logged, and the next one comes all the same."""

    @property
    def name(self) -> str: ...

    @property
    def seconds(self) -> float:
        """Between two runs."""
        ...

    @property
    def at_once(self) -> bool:
        """Whether the first comes at once, or after an interval."""
        ...

    def run(self) -> None: ...


_OURS = "outbox"
"""The executor's name, by which APScheduler names a logger."""


def _quiet(part: str) -> logging.Logger:
    """APScheduler's logger for our jobs, which tells of each run: seven lines a second at the level INFO.

    The loggers of a scheduler of the application's own keep their levels.
    """
    logger = logging.getLogger(f"apscheduler.{part}.{_OURS}")
    logger.setLevel(logging.ERROR)
    return logger


class Jobs:
    """Runs each duty in its interval, never one beside itself. For the main thread."""

    def __init__(self, progress: Progress, *duties: Duty) -> None:
        self._progress = progress
        self._duties = duties
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin."""
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={_OURS: ThreadPoolExecutor(len(self._duties))},
            logger=_quiet("scheduler"),
            # the defaults drop a job that is a second late
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for duty in self._duties:
            begin = {"next_run_time": utcnow()} if duty.at_once else {}
            scheduler.add_job(
                self._run,
                "interval",
                args=[duty],
                seconds=duty.seconds,
                id=duty.name,
                name=f"outbox {duty.name}",
                executor=_OURS,
                **begin,
            )
        _quiet("executors")
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    def restart(self) -> None:
        """With a new scheduler."""
        self.stop()
        self.start()

    def soon(self, name: str) -> None:
        """Let a job run now, and in its interval after that. While it runs this is lost. Thread-safe."""
        scheduler = self._scheduler
        if scheduler is not None:
            scheduler.modify_job(name, next_run_time=utcnow())

    def _run(self, duty: Duty) -> None:
        with self._progress.step(f"the {duty.name}"):
            try:
                duty.run()
            except Exception as error:  # noqa: BLE001 - the next run tries again
                line = (str(error).strip().splitlines() or [""])[0]
                logger.error("the %s failed and will be repeated: %s: %s", duty.name, type(error).__name__, line)
