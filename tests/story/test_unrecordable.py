"""Outcomes that the database does not take: nothing more is sent until it does, and then nothing is sent again."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter

import pytest
import sqlalchemy as sa

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import ForkedWorker, Stage, free_port, now, until
from tests.wire.actions import Later, Take
from tests.wire.server import SmtpServer

pytestmark = pytest.mark.long

CONNECTIONS = 4

RENAME = "ALTER TABLE outbox_attempt RENAME COLUMN {} TO {}"
REFUSING = {
    "sqlite": ["CREATE TRIGGER refuse BEFORE INSERT ON outbox_attempt BEGIN SELECT RAISE(ABORT, 'refused'); END"],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON outbox_attempt FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    "mariadb": ["CREATE TRIGGER refuse BEFORE INSERT ON outbox_attempt FOR EACH ROW SIGNAL SQLSTATE '45000'"],
}


def execute(stage: Stage, *statements: str) -> None:
    with stage.engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement.replace(":", r"\:")))


def break_recording(stage: Stage, how: str) -> None:
    execute(stage, *([RENAME.format("note", "remark")] if how == "renamed" else REFUSING[stage.database.name]))


def repair_recording(stage: Stage, how: str) -> None:
    if how == "renamed":
        execute(stage, RENAME.format("remark", "note"))
    else:
        execute(stage, "DROP TRIGGER refuse" + (" ON outbox_attempt" if stage.database.name == "postgresql" else ""))


def beats(stage: Stage, worker: ForkedWorker, seconds: float) -> None:
    """Wait until the worker's heartbeat is so much later than it is now."""

    def beaten() -> float:
        row = stage.row(worker)
        assert row is not None
        return row.heartbeat_at.timestamp()

    began = beaten()
    until(lambda: beaten() > began + seconds, "the heartbeat goes on", seconds + 20)


def ready(port: int) -> int:
    """The status code of the worker's /readyz."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("how", ["renamed", "refused"])
def test_what_cannot_be_recorded_stops_the_worker_and_is_recorded_once_it_can(
    database: Database, make_stage: MakeStage, how: str
) -> None:
    """A column renamed, or each insert refused, under a running worker: one message a connection, and none twice."""
    with SmtpServer({"dot": Take(Later(0.02, "250 2.0.0 ok"))}) as server:
        port = free_port()
        settings = {"OUTBOX_CONNECTIONS": str(CONNECTIONS), "OUTBOX_METRICS_PORT": str(port)}
        stage = make_stage(database, server.port, **settings)
        worker = stage.fork(ready=True)
        stage.send_together(100)
        server.wait_for(5)
        break_recording(stage, how)
        before = len(server.messages)
        until(lambda: "can't be recorded" in worker.log(), "the worker says so")
        until(lambda: "can't be recorded" in " ".join(stage.status()["problems"]), "the status says so")
        beats(stage, worker, float(stage.environ["OUTBOX_LEASE_SECONDS"]) + 1)  # every lease has run out by then
        # one a connection whose outcome is not there, and one before each that was there when it broke
        assert len(server.messages) <= before + 2 * CONNECTIONS
        assert worker.log().count("can't be recorded") <= 2
        assert ready(port) == 503
        repair_recording(stage, how)
        assert stage.settle() == {"sent": 100}
        assert len({mail.rcpt for mail in server.messages}) == len(server.messages) == 100
        until(lambda: stage.status()["problems"] == [], "the status is well again")
        until(lambda: ready(port) == 200, "it is ready again")


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("how", ["renamed", "refused"])
def test_one_that_starts_while_nothing_can_be_recorded(database: Database, make_stage: MakeStage, how: str) -> None:
    """It does not start, if that can be known without a mail; else no connection sends more than one."""
    with SmtpServer() as server:
        stage = make_stage(database, server.port, OUTBOX_CONNECTIONS=str(CONNECTIONS))
        stage.send_together(20)
        break_recording(stage, how)
        worker = stage.fork(OUTBOX_LEASE_SECONDS="3")
        if how == "renamed":
            assert worker.wait(20) != 0
            assert len(server.messages) == 0
            repair_recording(stage, how)
            stage.fork()
        else:
            until(lambda: "can't be recorded" in worker.log(), "the worker says so")
            beats(stage, worker, 4)
            assert len(server.messages) <= CONNECTIONS
            repair_recording(stage, how)
        assert stage.settle() == {"sent": 20}
        assert len(server.messages) == 20


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_database_that_is_away_for_longer_than_the_lease(
    database: Database, make_stage: MakeStage, workers: int
) -> None:
    """The worker that has the server's 250 records it first, and does not claim that mail again; another can't know."""
    if database.server is None or not database.server.controllable:
        pytest.skip("this server is not ours to stop")
    with SmtpServer({"dot": Take(Later(0.05, "250 2.0.0 ok"))}) as server:
        patient = {"OUTBOX_LEASE_SECONDS": "3", "OUTBOX_DEAD_AFTER_SECONDS": "600", "OUTBOX_POLL_SECONDS": "0.05"}
        stage = make_stage(database, server.port, OUTBOX_CONNECTIONS=str(24 // workers), **patient)
        stage.send_together(300)
        started = [stage.fork(ready=True) for _ in range(workers)]
        for _ in range(3):
            before = len(server.messages)
            server.wait_for(before + 40)
            stage.engine.dispose()
            database.server.kill()
            away = now()
            until(lambda away=away: now() > away + 5, "every lease has run out")
            database.server.start()
        assert stage.settle(60) == {"sent": 300}
        assert not any(worker.dead for worker in started)
        copies = Counter(mail.rcpt for mail in server.messages)
        assert len(copies) == 300
        # of what the others hold: one for each connection and outage
        assert copies.total() - 300 <= (0 if workers == 1 else 3 * 24)
