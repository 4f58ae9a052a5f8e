"""The stage of the stories: a relay, workers and an application, each a real process or a real connection.

Workers run the command of a deployment (`flask … outbox-sender`), or, where a story needs dozens of them, the daemon
alone; either is forked from a process that has everything imported. Nobody sleeps here: what is waited for is asked
for, with a limit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import Message, Outbox
from outbox.delivery.states import LIVE
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxMessage, OutboxWorker
from outbox.store.databases.sqlite import configure_sqlite
from outbox.worker import process
from tests.servers import forked
from tests.servers.databases import Database
from tests.servers.process import kill_with_children, polled
from tests.story.worker_app import create_app

ROOT = Path(__file__).parent.parent.parent
COMMAND = ["flask", "--app", "tests.story.worker_app"]
QUICK = {
    "OUTBOX_LEASE_SECONDS": "6",
    "OUTBOX_HEARTBEAT_SECONDS": "0.5",
    "OUTBOX_DEAD_AFTER_SECONDS": "2",
    "OUTBOX_POLL_SECONDS": "0.1",
    "OUTBOX_RETRY_FIRST_SECONDS": "0.2",
    "OUTBOX_PROBE_SECONDS": "0.3",
    "OUTBOX_PROBE_MAX_SECONDS": "1",
}
"""Settings under which a story of minutes takes seconds."""


def until(condition: Callable[[], Any], what: str, limit: float = 60.0) -> Any:
    """What `condition` returns, once that is true. Raises TimeoutError after `limit` seconds."""
    with polled(what, limit) as wait_a_little:
        while not (value := condition()):
            wait_a_little()
    return value


class Taken(NamedTuple):
    """One recipient of one mail that the relay took."""

    id: str  # the Message-ID
    to: str
    digest: str
    at: float  # wall clock, seconds
    mail: float  # the same, when MAIL came
    transaction: int  # the same of all recipients that shared one


class Relay:
    """`recording_server.py` as a process, which can be ended and started again on the same port and record."""

    def __init__(self, folder: Path, *, certificate: Path | None = None, delay: float = 0.0) -> None:
        self.record = folder / "taken.jsonl"
        self.record.touch()
        self.port = 0
        self._options = ["--record", str(self.record), "--delay", str(delay)]
        if certificate is not None:
            self._options += ["--certificate", str(certificate)]
        self._process: forked.Process | subprocess.Popen[str] | None = None
        self._read = 0
        self._taken: list[Taken] = []

    def start(self) -> Self:
        """Listens from here on."""
        command = ["tests.story.recording_server", *self._options, "--port", str(self.port)]
        self._process = forked.start(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def stop(self) -> None:
        """Ends it as a power cut would; what it took stays recorded."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """As `kill` sends it."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def taken(self) -> list[Taken]:
        """All that was ever taken, in order."""
        with self.record.open("rb") as record:
            record.seek(self._read)
            new = record.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self._taken += [Taken(**json.loads(line)) for line in whole.splitlines()]
        return self._taken

    def copies(self) -> Counter[tuple[str, str]]:
        """How often each (Message-ID, recipient) was taken."""
        return Counter((one.id, one.to) for one in self.taken())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Worker(Protocol):
    """A worker's process."""

    @property
    def pid(self) -> int: ...

    def signal(self, number: signal.Signals) -> None: ...

    def wait(self, limit: float) -> int: ...

    def log(self) -> str: ...


class CommandWorker:
    """`flask … outbox-sender`, as a deployment starts it."""

    def __init__(
        self,
        environ: Mapping[str, str],
        log: Path,
        *arguments: str,
        fork: bool = True,
        app: str = COMMAND[-1],
        prefix: Sequence[str] = (),
    ) -> None:
        """`fork=False`: from a new interpreter, for what depends on it, such as memory. `prefix`: what starts it."""
        self._log = log
        with log.open("ab") as file:
            self._process = forked.start(
                ["flask", "--app", app, "outbox-sender", *arguments],
                cwd=ROOT,
                env={**plain_environment(), **environ},
                fork=fork,
                prefix=prefix,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.pid = self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def wait(self, limit: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(limit)

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class ForkedWorker:
    """The same daemon without the command around it."""

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._log = log
        log.touch()  # the child opens it when it gets to run
        self._process: BaseProcess = forked.FORKSERVER.Process(target=_be_a_worker, args=(dict(environ), str(log)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._process.exitcode is not None

    def wait(self, limit: float) -> int:
        """The exit code, negative for a signal. Raises TimeoutError."""
        self._process.join(limit)
        if self._process.exitcode is None:
            raise TimeoutError(f"worker {self.pid} still runs after {limit} s")
        return self._process.exitcode

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Stage:
    """One database, one relay, and the workers between them."""

    def __init__(
        self, database: Database, relay_port: int, folder: Path, *, quick: bool = True, **settings: str
    ) -> None:
        """`quick`: with QUICK, else with the defaults; `settings` add to either."""
        self.database = database
        self.folder = folder
        self.environ = {
            **(QUICK if quick else {}),
            "DATABASE_URL": database.url,
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(relay_port),
            "MAIL_DEFAULT_SENDER": "app@example.org",
            **settings,
        }
        self.workers: list[CommandWorker | ForkedWorker] = []
        self.engine = application_engine(database)
        self._local = threading.local()
        self.app = create_app(self.environ, session=lambda: self._local.session)
        self.outbox: Outbox = self.app.extensions["outbox"]

    def start(
        self, *arguments: str, ready: bool = True, fork: bool = True, prefix: Sequence[str] = (), **settings: str
    ) -> CommandWorker:
        """A worker as a deployment starts it; `ready`: wait until it has a row."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = CommandWorker({**self.environ, **settings}, log, *arguments, fork=fork, prefix=prefix)
        self.workers.append(worker)
        if ready:
            until(lambda: self.row(worker), f"worker {worker.pid} starts; its log: {log}")
        return worker

    def fork(self, *, ready: bool = False, **settings: str) -> ForkedWorker:
        """A worker without the command."""
        worker = ForkedWorker({**self.environ, **settings}, self.folder / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        if ready:
            until(lambda: self.row(worker), f"worker {worker.pid} starts")
        return worker

    def command(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """What `flask …` says and how it ends, as an operator runs it."""
        environ = {**plain_environment(), **self.environ, **settings}
        return forked.run([*COMMAND, *words], cwd=ROOT, env=environ, timeout=90)

    def status(self, **settings: str) -> dict[str, Any]:
        """What `outbox-status --json` says."""
        found: dict[str, Any] = json.loads(self.command("outbox-status", "--json", **settings).stdout)
        return found

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session of the application in which `outbox.send` works; nothing is committed by itself."""
        with self.app.app_context(), Session(self.engine) as session:
            self._local.session = session
            try:
                yield session
            finally:
                del self._local.session

    def send(self, count: int = 1, *, commit: bool = True, **options: Any) -> list[str]:
        """Enqueue mails in one transaction each, end it one way or the other; their Message-IDs."""
        ids = []
        for number in range(count):
            with self.transaction() as session:
                message = Message(f"Mail {number}", recipients=[f"r{number}@example.org"], body=f"Text of {number}\n")
                ids.append(self.outbox.enqueue(message, **options).message_id)
                session.commit() if commit else session.rollback()
        return ids

    def send_together(self, count: int, **options: Any) -> list[str]:
        """Enqueue mails in one transaction; their Message-IDs."""
        with self.transaction() as session:
            messages = [Message(f"Mail {n}", recipients=[f"r{n}@example.org"], body="x\n") for n in range(count)]
            ids = [self.outbox.enqueue(message, **options).message_id for message in messages]
            session.commit()
        return ids

    def states(self) -> Counter[str]:
        """How many deliveries are in each state."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(OutboxDelivery.state, sa.func.count().label("number")).group_by(OutboxDelivery.state)
            ).all()
        return Counter({row.state: row.number for row in rows})

    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return not set(self.states()) & {str(state) for state in LIVE}

    def settle(self, limit: float = 60.0) -> Counter[str]:
        """Wait until nothing is left to do; the states."""
        try:
            until(self.settled, "all mail settled", limit)
        except TimeoutError as late:
            raise TimeoutError(f"{late}: {dict(self.states())}") from None
        return self.states()

    def deliveries(self) -> list[OutboxDelivery]:
        """All of them, by id."""
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(sa.select(OutboxDelivery).order_by(OutboxDelivery.id)))

    def attempts(self) -> list[OutboxAttempt]:
        """All tries, by id."""
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(sa.select(OutboxAttempt).order_by(OutboxAttempt.id)))

    def ids(self, *states: str) -> set[str]:
        """The Message-IDs that have a delivery in one of these states."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(OutboxMessage.message_id)
                .join(OutboxDelivery, OutboxDelivery.message_id == OutboxMessage.id)
                .where(OutboxDelivery.state.in_(states))
            )
            return set(rows.scalars())

    def row(self, worker: Worker) -> OutboxWorker | None:
        """The worker's own row."""
        with Session(self.engine, expire_on_commit=False) as session:
            return session.scalars(sa.select(OutboxWorker).where(OutboxWorker.pid == worker.pid)).first()

    def health(self, worker: Worker) -> dict[str, Any]:
        """What the worker last said of itself."""
        row = self.row(worker)
        return (row.health if row is not None else None) or {}

    def transport(self, worker: Worker) -> dict[str, Any]:
        """What it last said of its first transport."""
        said: dict[str, Any] = self.health(worker).get("transport", {})
        return said

    def logs(self) -> str:
        """What all workers wrote."""
        return "".join(worker.log() for worker in self.workers)

    def close(self) -> None:
        """End every worker at once, and the processes that it started, stopped ones too."""
        running = [worker for worker in self.workers if not worker.dead]
        kill_with_children(*(worker.pid for worker in running))
        for worker in running:
            worker.wait(30)
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stand_still(worker: Worker, engine: sa.Engine) -> None:
    """SIGSTOP at a moment at which the worker holds no lock on the whole database (SQLite has only that one)."""
    while True:
        worker.signal(signal.SIGSTOP)
        until(lambda: stopped(worker.pid), "all its threads stand still")
        if engine.dialect.name != "sqlite":
            return
        with contextlib.closing(sqlite3.connect(str(engine.url.database), timeout=0, isolation_level=None)) as raw:
            try:
                raw.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                worker.signal(signal.SIGCONT)


def stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped; a signal only asks for it."""
    states = [task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)


def application_engine(database: Database) -> sa.Engine:
    """An engine as an application has it; on SQLite one that waits its turn."""
    engine = sa.create_engine(database.address, pool_pre_ping=True)
    if database.name == "sqlite":
        configure_sqlite(engine, immediate=False)
    return engine


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_seconds(pid: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int, *, peak: bool = False) -> int:
    """Memory that a process holds now, or at the most ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM" if peak else "VmRSS"))


def now() -> float:
    """Wall clock, seconds: to be compared with `Taken.at`."""
    return time.time()


def _be_a_worker(environ: dict[str, str], log: str) -> None:
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    sys.exit(process.run(create_app(environ)))


def plain_environment() -> dict[str, str]:
    """The caller's environment without settings of its own."""
    prefixes = ("OUTBOX_", "MAIL_", "FLASK_", "DATABASE_URL", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
