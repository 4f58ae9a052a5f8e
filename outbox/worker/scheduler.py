"""A worker's duties by the clock (poll, heartbeat, purge), on APScheduler.

The scheduler must be watched from outside it: a dead scheduler thread still says that it runs, and one that waits by a
wall clock that was stepped back does nothing for as long. `restart` is the cure for both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from outbox.core.clock import utcnow
from outbox.core.events import logger
from outbox.core.progress import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do again and again."""

    name: str
    seconds: float
    call: Callable[[], None]
    at_once: bool = False


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
    """Runs each job in its interval, never one beside itself. For the main thread."""

    def __init__(self, progress: Progress, *jobs: Job) -> None:
        self._progress = progress
        self._jobs = jobs
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin."""
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={_OURS: ThreadPoolExecutor(len(self._jobs))},
            logger=_quiet("scheduler"),
            # the defaults drop a job that is a second late
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for job in self._jobs:
            begin = {"next_run_time": utcnow()} if job.at_once else {}
            scheduler.add_job(
                self._run,
                "interval",
                args=[job],
                seconds=job.seconds,
                id=job.name,
                name=f"outbox {job.name}",
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

    def _run(self, job: Job) -> None:
        with self._progress.step(f"the {job.name}"):
            try:
                job.call()
            except Exception as error:  # noqa: BLE001 - the next run tries again
                line = (str(error).strip().splitlines() or [""])[0]
                logger.error("the %s failed and will be repeated: %s: %s", job.name, type(error).__name__, line)
