"""`outbox-sender --processes N`: real processes, real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from outbox.models import OutboxWorker
from tests.servers.databases import Database
from tests.servers.process import free_port
from tests.story.conftest import MakeStage
from tests.story.stage import CommandWorker, Relay, Stage, until
from tests.wire.actions import SILENCE
from tests.wire.server import SmtpServer

PATIENT = {"OUTBOX_LEASE_SECONDS": "600", "OUTBOX_HEARTBEAT_SECONDS": "2", "OUTBOX_DEAD_AFTER_SECONDS": "300"}
"""Settings under which nobody else would rescue what a dead worker held for minutes."""


@pytest.fixture
def slow_relay(tmp_path: Path) -> Iterator[Relay]:
    """One that takes its time for each mail."""
    with Relay(tmp_path, delay=0.3) as relay:
        yield relay


def children(supervisor: CommandWorker) -> list[psutil.Process]:
    """Its living child processes."""
    return psutil.Process(supervisor.pid).children()


def rows(stage: Stage) -> list[OutboxWorker]:
    """Of all workers that ever were."""
    from sqlalchemy.orm import Session

    with Session(stage.engine, expire_on_commit=False) as session:
        return list(session.query(OutboxWorker).order_by(OutboxWorker.id))


def supervised(stage: Stage, count: int, *arguments: str, **settings: str) -> CommandWorker:
    """A supervisor whose children have registered."""
    before = len(rows(stage))
    made = stage.start("--processes", str(count), *arguments, ready=False, **settings)
    until(lambda: len(rows(stage)) == before + count, f"{count} workers start: {made.log()}", 30)
    return made


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_they_share_the_work_and_end_when_it_is_done(stage: Stage) -> None:
    """--drain: exit code 0, each mail sent once, each worker retired."""
    stage.send_together(100)
    supervisor = stage.start("--processes", "3", "--drain", ready=False)
    assert supervisor.wait(60) == 0, supervisor.log()
    assert stage.states() == {"sent": 100}
    assert len(rows(stage)) == 3
    assert all(row.stopped_at is not None for row in rows(stage))


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_one_that_is_killed_is_started_again_and_what_it_held_is_sent_at_once(
    database: Database, slow_relay: Relay, make_stage: MakeStage
) -> None:
    """Long before its lease or its heartbeat would say that it is dead; at most one duplicate for its connection."""
    stage = make_stage(database, slow_relay.port, **PATIENT)
    supervisor = supervised(stage, 2, "--connections", "1")
    ids = stage.send_together(30)
    victim = until(lambda: _holder(stage), "a child holds mail")
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: len(rows(stage)) == 3, "another is started", 30)
    assert stage.settle() == {"sent": 30}
    until(lambda: len(children(supervisor)) == 2, "there are two again")
    copies = slow_relay.copies()
    assert {id for id, _ in copies} == set(ids)
    assert sum(copies.values()) <= 31
    until(lambda: next(row for row in rows(stage) if row.id == victim.id).stopped_at, "the dead one is reaped")
    assert "the process ended by SIGKILL" in supervisor.log()
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0


@pytest.mark.databases("postgresql")
def test_one_that_dies_before_it_has_registered_ends_no_other(
    database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """Killed while it waits for the database, or refused by it: the others go on, and it is started again."""
    stage = make_stage(database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS="90")  # or the one that is kept ends, too
    supervisor = supervised(stage, 2)
    until(lambda: all(row.health for row in rows(stage)), "both are at work")  # before, one ends without its table
    kept, victim = children(supervisor)
    with stage.engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE outbox_worker IN ACCESS EXCLUSIVE MODE"))
        victim.kill()
        until(lambda: connection.execute(_WAITING).scalar(), "another waits for the lock")
        until(lambda: _killed(supervisor, kept) >= 2, "the supervisor has noticed it", 30)
        connection.execute(sa.text("ALTER TABLE outbox_worker RENAME TO outbox_worker_away"))
    until(lambda: "ended by exit code" in supervisor.log(), "one ends by itself", 30)
    assert kept.is_running()
    with stage.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE outbox_worker_away RENAME TO outbox_worker"))
    until(lambda: len(rows(stage)) == 3, "a later one registers")
    stage.send(3)
    assert stage.settle() == {"sent": 3}
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0, supervisor.log()


_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox_worker'::regclass")


def _killed(supervisor: CommandWorker, kept: psutil.Process) -> int:
    """Kills all but `kept`, a helper of the supervisor's among them; how many workers it has found killed."""
    for child in children(supervisor):
        if child != kept:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    return supervisor.log().count("ended by SIGKILL")


def test_one_that_hangs_ends_and_is_started_again(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path
) -> None:
    """It finds that out by itself, and the supervisor does the rest; one whose database hangs is no hindrance to it."""
    fault = tmp_path / "fault"
    stage = make_stage(sqlite_database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS="1", OUTBOX_SHUTDOWN_SECONDS="1")
    supervisor = supervised(stage, 2, STORY_HANG=f"claim {fault} once")  # one that hangs at the end is no clean end
    fault.touch()
    until(lambda: "ended by exit code 1" in supervisor.log(), "one ends by itself", 30)
    until(lambda: len(rows(stage)) == 3, "another is started", 30)
    stage.send(3)
    assert stage.settle() == {"sent": 3}
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0, supervisor.log()


def test_a_hung_database_does_not_hold_up_the_supervisor(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path
) -> None:
    """While it can't release what a dead child held, it starts another, and ends when it is told to."""
    fault = tmp_path / "fault"
    stage = make_stage(sqlite_database, relay.port, OUTBOX_SHUTDOWN_SECONDS="1")
    supervisor = supervised(stage, 2, STORY_HANG=f"release_leases {fault}")
    fault.touch()
    children(supervisor)[0].kill()
    until(fault.with_suffix(".hangs").exists, "it hangs")
    until(lambda: len(rows(stage)) == 3, "another is started")
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(20) == 0, supervisor.log()
    assert "its mail is due again when they expire" in supervisor.log()


@pytest.mark.long
def test_one_that_does_not_run_is_killed_and_started_again(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """It can't find out by itself; what it held is sent by the others."""
    stage = make_stage(sqlite_database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS="1")
    supervisor = supervised(stage, 2)
    victim = children(supervisor)[0]
    victim.suspend()
    until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, "it is killed", 40)
    until(lambda: len(rows(stage)) == 3, "another is started", 30)
    assert f"worker process {victim.pid} has not responded for " in supervisor.log()
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0, supervisor.log()


def _holder(stage: Stage) -> OutboxWorker | None:
    held = [delivery.worker_id for delivery in stage.deliveries() if delivery.state == "sending"]
    return next((row for row in rows(stage) if row.id in held), None)


def test_sigterm_is_passed_on(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """All end in good order; a terminal's Ctrl-C reaches the supervisor alone, which passes it on once."""
    stage = make_stage(sqlite_database, relay.port)
    supervisor = supervised(stage, 2)
    living = children(supervisor)
    assert len({os.getpgid(child.pid) for child in living} | {os.getpgid(supervisor.pid)}) == 3
    supervisor.signal(signal.SIGINT)
    assert supervisor.wait(30) == 0, supervisor.log()
    assert not any(child.is_running() for child in living)
    assert all(row.stopped_at is not None for row in rows(stage))
    assert "Traceback" not in supervisor.log()


def test_children_whose_supervisor_is_killed_end_in_good_order(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """Nobody would start them again, nor could they be stopped by its pid."""
    stage = make_stage(sqlite_database, relay.port)
    supervisor = supervised(stage, 2)
    living = children(supervisor)
    supervisor.signal(signal.SIGKILL)
    supervisor.wait(10)
    psutil.wait_procs(living, 20)
    assert not any(child.is_running() for child in living)
    assert all(row.stopped_at is not None for row in rows(stage))


def test_a_second_signal_ends_all_at_once(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Though the server hangs and there is time left."""
    with SmtpServer({"data": SILENCE}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_SHUTDOWN_SECONDS="60", **PATIENT)
        supervisor = supervised(stage, 2)
        stage.send_together(4)
        until(lambda: server.steps["data"], "a mail is under way")
        living = children(supervisor)
        supervisor.signal(signal.SIGTERM)

        def ends() -> int | None:
            supervisor.signal(signal.SIGTERM)
            try:
                return supervisor.wait(0.5)
            except subprocess.TimeoutExpired:
                return None

        assert until(ends, "it ends", 40) == 128 + signal.SIGTERM
        psutil.wait_procs(living, 10)
        assert not any(child.is_running() for child in living)


def test_one_that_can_never_start_is_tried_less_and_less_often(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """The pauses double; the supervisor can be stopped meanwhile."""
    stage = make_stage(sqlite_database, relay.port)
    supervisor = supervised(stage, 1)
    for count in (2, 3, 4):
        children(supervisor)[0].kill()
        until(lambda count=count: len(rows(stage)) == count, "it is started again", 30)
    assert [f"again in {pause} s" in supervisor.log() for pause in ("0.5", "1.0", "2.0")] == [True] * 3
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0


def test_without_tables_nothing_is_started(databases: object, relay: Relay, make_stage: MakeStage) -> None:
    """Exit code 2 and the remedy, as with one process."""
    from tests.servers.databases import Databases

    assert isinstance(databases, Databases)
    with databases.empty("sqlite") as database:
        supervisor = make_stage(database, relay.port).start("--processes", "2", ready=False)
        assert supervisor.wait(30) == 2
        assert "alembic upgrade head" in supervisor.log()


def test_each_answers_on_a_port_of_its_own(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """The first on OUTBOX_METRICS_PORT, the next on one more."""
    port = free_port()
    stage = make_stage(sqlite_database, relay.port, OUTBOX_METRICS_PORT=str(port))
    supervised(stage, 2)

    def answers() -> bool:
        for number in (0, 1):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port + number}/healthz", timeout=5) as answer:
                    assert answer.read() == b"ok\n"
            except OSError:
                return False
        return True

    until(answers, "both answer")
