"""The stage with Celery on it: workers and beat are processes of `celery`, the application publishes from this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from outbox.models import OutboxWorker
from tests.servers.brokers import RabbitMQServer, RedisServer
from tests.servers.databases import Database
from tests.servers.process import kill_with_children
from tests.story.celery_app import create_celery
from tests.story.stage import ROOT, Stage, plain_environment, until

Broker = RedisServer | RabbitMQServer


class Celery:
    """`celery -A tests.story.celery_app …`."""

    def __init__(self, environ: dict[str, str], log: Path, *words: str) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tests.story.celery_app", *words],
                cwd=ROOT,
                env={**plain_environment(), **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.pid = self._process.pid

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, limit: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(limit)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def pids(self) -> set[int]:
        """The processes of the pool, and this one."""
        return {self.pid, *self.children()}

    def children(self) -> list[int]:
        """The processes of the pool."""
        return [child.pid for child in psutil.Process(self.pid).children()]


class CeleryStage(Stage):
    """One database, one relay, one broker."""

    def __init__(self, database: Database, relay_port: int, folder: Path, broker: str, **settings: str) -> None:
        """`broker`: its URL."""
        super().__init__(database, relay_port, folder, **settings)
        self.environ = {**self.environ, "BROKER_URL": broker}
        self.celery = create_celery(self.app, broker)
        self.celeries: list[Celery] = []

    def celery_worker(self, *words: str, ready: bool = True, **settings: str) -> Celery:
        """A worker with `words` after `celery worker`; by default two processes. `ready`: wait until it takes tasks."""
        number = len(self.celeries)
        words = words or ("--concurrency", "2")
        worker = self._celery("worker", "--loglevel", "INFO", "-n", f"worker{number}@localhost", *words, **settings)
        if ready:
            until(lambda: " ready." in worker.log(), f"Celery's worker {worker.pid} is ready: {worker.log()}", 90.0)
        return worker

    def beat(self, **settings: str) -> Celery:
        """What publishes `outbox.sweep`."""
        schedule = str(self.folder / f"beat-{len(self.celeries)}")
        return self._celery("beat", "--schedule", schedule, "--pidfile", "", "--loglevel", "INFO", **settings)

    def publish(self) -> None:
        """Wait until the tasks of all that was committed are published."""
        self.app.extensions["outbox.celery"].flush(30.0)

    def engines(self, worker: Celery) -> Iterator[OutboxWorker]:
        """The rows of the outbox's workers in a worker of Celery."""
        rows = (self.row(_Pid(pid)) for pid in worker.pids())
        return (row for row in rows if row is not None)

    def close(self) -> None:
        running = [one for one in self.celeries if not one.dead]
        kill_with_children(*(one.pid for one in running))
        for one in running:
            one.wait(30)
        super().close()

    def _celery(self, *words: str, **settings: str) -> Celery:
        log = self.folder / f"celery-{len(self.celeries)}.log"
        made = Celery({**os.environ, **self.environ, **settings}, log, *words)
        self.celeries.append(made)
        return made


class _Pid:
    """As `Stage.row` takes it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
