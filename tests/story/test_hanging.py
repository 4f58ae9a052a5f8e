"""What waits without an end is found, told of, and ends the process; nothing that hangs keeps it alive."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from outbox.models import OutboxWorker
from outbox.worker.watchdog import LEAVE_SECONDS, NOTICE_SECONDS, STOP_SECONDS
from tests.servers.databases import Database
from tests.servers.process import free_port
from tests.servers.proxy import Freezer
from tests.story.conftest import MakeStage
from tests.story.stage import ROOT, Relay, Stage, plain_environment, until

pytestmark = pytest.mark.long

LIMIT = 2.0
"""OUTBOX_DATABASE_TIMEOUT_SECONDS in these tests."""

SLACK = 6.0
"""Seconds for a busy machine."""

DUTIES = {
    "claim": "claiming",
    "record": "recording",
    "mark": "reading or marking a message",
    "beat": "the heartbeat",
    "pauses": "the check for pauses",
}
"""Calls of the database, and what the log names them."""


def answered(port: int) -> tuple[int, str]:
    """Code and text of /healthz; (0, "") where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.parametrize("call", DUTIES)
def test_a_duty_that_hangs_ends_the_worker(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path, call: str
) -> None:
    """/healthz says 503 and why, then the process ends with 1 and joins nothing; another worker sends the rest."""
    fault, port = tmp_path / "fault", free_port()
    stage = make_stage(sqlite_database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS=str(LIMIT))
    worker = stage.start(STORY_HANG=f"{call} {fault}", OUTBOX_METRICS_PORT=str(port))
    stage.send()
    stage.settle()
    fault.touch()
    stage.send(3, on_uncertain="hold")
    code, words = until(lambda: (said := answered(port))[0] == 503 and said, "it says that it is ill", LIMIT + SLACK)
    assert (code, words.startswith(f"{DUTIES[call]} has made no progress for ")) == (503, True)
    assert worker.wait(NOTICE_SECONDS + LEAVE_SECONDS + SLACK) == 1
    assert f"{DUTIES[call]} has made no progress for " in worker.log()
    assert "worker-stopped" not in worker.log()
    fault.unlink()
    stage.fork()
    states = stage.settle()
    assert set(states) <= {"sent", "uncertain"}
    assert sum(states.values()) == 4


def test_a_hung_registration_ends_the_worker(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path
) -> None:
    """Before anything else runs that could notice."""
    fault = tmp_path / "fault"
    fault.touch()
    stage = make_stage(sqlite_database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS=str(LIMIT))
    worker = stage.start(ready=False, STORY_HANG=f"register {fault}")
    assert worker.wait(LIMIT + NOTICE_SECONDS + LEAVE_SECONDS + SLACK) == 1
    assert "registering the worker has made no progress for " in worker.log()


@pytest.mark.parametrize("call", [*DUTIES, "retire"])
def test_a_stop_comes_to_its_end_whatever_hangs(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path, call: str
) -> None:
    """Within the grace period and a few seconds; it does not say that it has stopped in good order."""
    fault = tmp_path / "fault"
    stage = make_stage(sqlite_database, relay.port, OUTBOX_SHUTDOWN_SECONDS="1", OUTBOX_DATABASE_TIMEOUT_SECONDS="60")
    worker = stage.start(STORY_HANG=f"{call} {fault}")
    stage.send()
    stage.settle()
    fault.touch()
    stage.send(3, on_uncertain="hold")
    if call != "retire":
        until(fault.with_suffix(".hangs").exists, "it hangs")
    worker.signal(signal.SIGTERM)
    assert worker.wait(1 + STOP_SECONDS + SLACK) == 1
    assert "worker-stopped" not in worker.log()


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("frozen", ["all", "new ones work"])
def test_database_connections_that_hang_stop_no_mail(
    database: Database, relay: Relay, make_stage: MakeStage, frozen: str
) -> None:
    """They are up and say nothing (a frozen server, a lost NAT entry): the worker goes on with others, or ends."""
    with Freezer((database.address.host or "", database.address.port or 0)) as freezer:
        stage = make_stage(
            database,
            relay.port,
            DATABASE_URL=database.address.set(host="127.0.0.1", port=freezer.port).render_as_string(False),
            OUTBOX_DATABASE_TIMEOUT_SECONDS=str(LIMIT),
            OUTBOX_SHUTDOWN_SECONDS="1",
        )
        worker = stage.start()
        stage.send()
        stage.settle()
        freezer.freeze(new=frozen == "all")
        stage.send(3)
        if frozen == "all":
            until(lambda: worker.dead or "waits for the database" in worker.log(), "it says so, or ends", 60)
            freezer.thaw()
        until(lambda: worker.dead or stage.settled(), "it goes on, or ends", 60)
        if worker.dead:
            worker = stage.start()
        assert stage.settle() == {"sent": 4}
        freezer.freeze(new=False)
        worker.signal(signal.SIGTERM)
        assert worker.wait(1 + STOP_SECONDS + SLACK) in {0, 1}


def test_a_log_that_nobody_reads_stops_no_mail(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path
) -> None:
    """A full pipe, or Ctrl-S on a terminal: lines are dropped, mail is not; the count of them is told afterwards."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    stage = make_stage(sqlite_database, relay.port)
    stage.send_together(400)
    with subprocess.Popen(
        [sys.executable, "-c", FEW_LINES, "--app", "tests.story.worker_app", "outbox-sender"],
        cwd=ROOT,
        env={**plain_environment(), **stage.environ},
        stdin=subprocess.DEVNULL,
        stderr=writer,
    ) as worker:
        os.close(writer)
        try:
            assert stage.settle() == {"sent": 400}
            said = bytearray()
            reading = threading.Thread(
                target=lambda: [said.extend(part) for part in iter(lambda: os.read(reader, 4096), b"")]
            )
            reading.start()
            stage.send()
            until(lambda: b"were dropped" in said, "it tells of them")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
            reading.join()
        finally:
            worker.kill()
            os.close(reader)
    assert b"status=worker-stopped" in said
    assert stage.settled()


FEW_LINES = "import sys; from outbox.cli import logs; logs.CAPACITY = 20; import flask.cli; flask.cli.main()"


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_a_worker_ends_though_its_log_is_stuck(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, processes: tuple[str, ...]
) -> None:
    """Within a few seconds of SIGTERM, with nobody reading a full pipe."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    stage = make_stage(sqlite_database, relay.port)
    stage.send_together(100)
    command = [sys.executable, "-m", "flask", "--app", "tests.story.worker_app", "outbox-sender", *processes]
    environ = {**plain_environment(), **stage.environ}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stderr=writer) as worker:
        os.close(writer)
        try:
            assert stage.settle() == {"sent": 100}
            if processes:  # the supervisor itself has something to say
                psutil.Process(worker.pid).children()[0].kill()
                until(lambda: registered(stage) == 3, "another is started", 30)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(STOP_SECONDS + SLACK) == 0
        finally:
            worker.kill()
            os.close(reader)


def registered(stage: Stage) -> int:
    """How many workers there ever were."""
    with stage.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(OutboxWorker)).scalar_one())


def test_a_handler_of_the_application_that_hangs_ends_the_worker(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """Its logging is its own; what stands still because of it is noticed, and the mail goes to another worker."""
    stage = make_stage(sqlite_database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS=str(LIMIT))
    stage.send_together(20)
    worker = stage.start(STORY_LOG="status=sent")
    assert worker.wait(LIMIT + NOTICE_SECONDS + LEAVE_SECONDS + SLACK) == 1
    stage.fork()
    assert stage.settle() == {"sent": 20}


def test_a_receiver_that_hangs_holds_up_no_mail(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """It is named in the log, and told of nothing more; the worker ends in good order all the same."""
    stage = make_stage(sqlite_database, relay.port, OUTBOX_SHUTDOWN_SECONDS="1")
    stage.send_together(40)
    worker = stage.start(STORY_RECEIVER="r3@example.org")
    assert stage.settle() == {"sent": 40}
    until(lambda: "has not returned for" in worker.log(), "it is named")
    assert "outbox-delivery-sent" in worker.log()
    assert "tests.story.faults._receiver.<locals>.hang" in worker.log()
    worker.signal(signal.SIGTERM)
    assert worker.wait(1 + STOP_SECONDS + SLACK) == 0
    assert "status=worker-stopped" in worker.log()
    assert len(relay.taken()) == 40


def test_an_idle_worker_logs_no_run_of_its_jobs(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path
) -> None:
    """Not under the application's own logging at INFO either, nor that a job is still under way."""
    fault = tmp_path / "fault"
    stage = make_stage(sqlite_database, relay.port)
    worker = stage.start(STORY_LOG="never", STORY_HANG=f"pauses {fault}")
    stage.send()
    stage.settle()
    fault.touch()
    until(lambda: "the check for pauses has made no progress for 10 s" in worker.log(), "it is told of")
    assert "apscheduler" not in worker.log()
    assert "skipped" not in worker.log()
