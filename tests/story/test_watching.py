"""The daemon watches itself, costs little, and refuses what is not its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.faults import POISON
from tests.story.stage import Relay, Stage, process_seconds, resident_bytes, until
from tests.story.test_poison import send_poison
from tests.wire.actions import ENDLESS_LINES, turns
from tests.wire.server import SmtpServer


def test_a_scheduler_that_stands_still_is_started_anew(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path
) -> None:
    """Its thread dead, while it says that it runs: heartbeat and mail go on within a minute, and the status tells."""
    fault = tmp_path / "fault"
    stage = make_stage(sqlite_database, relay.port, STORY_SCHEDULER=str(fault))
    worker = stage.fork(ready=True)
    stage.send()
    stage.settle()
    fault.touch()
    until(lambda: "the scheduler had stopped" in worker.log(), "it is noticed", 30)
    row = stage.row(worker)
    assert row is not None
    until(lambda: stage.row(worker).heartbeat_at > row.heartbeat_at, "the heartbeat", 30)  # type: ignore[union-attr]
    stage.send()
    assert stage.settle() == {"sent": 2}
    assert not worker.dead
    assert any("the scheduler had stopped" in note for note in stage.status()["notes"])


@pytest.mark.long
def test_a_connection_that_hangs_ends_the_worker(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """A thread that comes back from nothing within its lease: the worker ends with 1, to be started again."""
    stage = make_stage(
        sqlite_database, relay.port, STORY_POISON="hang", OUTBOX_LEASE_SECONDS="3", OUTBOX_SHUTDOWN_SECONDS="1"
    )
    stage.send_together(10)
    worker = stage.fork()
    stage.settle()
    send_poison(stage)
    assert worker.wait(45) == 1
    assert "hangs" in worker.log()
    assert stage.states()["sent"] == 10
    assert {row.recipient for row in stage.deliveries() if row.state != "sent"} == {POISON}
    until(lambda: "no worker is alive" in " ".join(stage.status()["problems"]), "the status tells", 30)


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_an_idle_worker_costs_next_to_nothing(stage: Stage) -> None:
    """Beside an application of Flask and SQLAlchemy alone: at most three quarters more memory, and in four idle seconds
    at most half of the CPU time that the other took to start."""
    calm = {"OUTBOX_POLL_SECONDS": "0.5", "OUTBOX_HEARTBEAT_SECONDS": "5", "OUTBOX_DEAD_AFTER_SECONDS": "20"}
    worker = stage.start(fork=False, **calm)
    stage.send()
    stage.settle()
    with bare_application(stage.database.url) as bare:
        memory, cpu = resident_bytes(bare), process_seconds(bare)
    started, used = time.monotonic(), process_seconds(worker.pid)
    until(lambda: time.monotonic() - started > 4, "four seconds of idling")
    assert resident_bytes(worker.pid) < 1.75 * memory
    assert process_seconds(worker.pid) - used < 0.5 * cpu


BARE = """
import sys
import flask, sqlalchemy, sqlalchemy.orm
app = flask.Flask("bare")
engine = sqlalchemy.create_engine(sys.argv[1])
with app.app_context(), sqlalchemy.orm.Session(engine) as session:
    session.execute(sqlalchemy.text("SELECT 1"))
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def bare_application(url: str) -> Iterator[int]:
    """The pid of a process that has asked this database something, and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", BARE, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.stdin.close()


def test_mail_of_another_environment_is_refused_aloud(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """A production database restored beside a staging worker: nothing is sent, and the log says why."""
    stage = make_stage(sqlite_database, relay.port, OUTBOX_ENVIRONMENT="production")
    stage.send_together(5)
    worker = stage.fork(OUTBOX_ENVIRONMENT="staging")
    until(lambda: worker.log().count("status=unserved") == 5, "it refuses each")
    assert "environment=production" in worker.log()
    assert "OUTBOX_ENVIRONMENT" in worker.log()
    assert stage.states() == {"queued": 5}
    assert relay.taken() == []


def test_suppressed_mail_is_recorded_and_not_sent(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """MAIL_SUPPRESS_SEND: each mail ends as sent, with the reason, and nothing is on the wire."""
    stage = make_stage(sqlite_database, relay.port, MAIL_SUPPRESS_SEND="true")
    stage.send_together(5)
    worker = stage.fork()
    assert stage.settle() == {"sent": 5}
    assert {row.reason for row in stage.deliveries()} == {"suppressed"}
    assert all("MAIL_SUPPRESS_SEND" in (attempt.note or "") for attempt in stage.attempts())
    until(lambda: stage.health(worker).get("suppressed"), "the worker says so")
    assert relay.taken() == []


@pytest.mark.parametrize("step", ["greeting", "ehlo", "rcpt", "dot"])
def test_an_endless_reply_does_not_fill_the_worker(sqlite_database: Database, make_stage: MakeStage, step: str) -> None:
    """A relay that never stops talking, offer after offer: the process grows by less than 10 MB."""
    with SmtpServer({"dot": turns(None)}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_PROBE_MAX_SECONDS="0.3")
        worker = stage.start()
        stage.send()
        stage.settle()  # what a first mail brings into memory is there
        before = resident_bytes(worker.pid)
        server.script = {step: ENDLESS_LINES}
        server.hang_up()
        stage.send_together(20, on_uncertain="hold")
        server.wait_until(lambda: server.steps[step] >= 8, 30, "offers")
        assert resident_bytes(worker.pid, peak=True) - before < 10_000_000


@pytest.mark.long
@pytest.mark.once("postgresql")
def test_long_texts_do_not_fill_the_worker(database: Database, make_stage: MakeStage) -> None:
    """64 texts of 2 MB, a window for four connections: each reads its own piece by piece, and they arrive whole."""
    text = "lorem ipsum dolor sit amet\r\n" * 75_000
    with SmtpServer({"dot": turns(None)}) as server:
        stage = make_stage(database, server.port, OUTBOX_LEASE_SECONDS="120", OUTBOX_CONNECTIONS="4")
        worker = stage.start()
        stage.send()
        stage.settle()
        before = resident_bytes(worker.pid)
        with stage.transaction() as session:
            for number in range(64):
                stage.outbox.enqueue(Message("long", recipients=[f"{number}@example.org"], body=text))
                session.flush()
                session.expunge_all()
            session.commit()
        assert stage.settle(90) == {"sent": 65}
        assert resident_bytes(worker.pid, peak=True) - before < 60_000_000
        expected = text.encode().rstrip()
        assert all(expected in message.content for message in server.messages[1:])
