"""The worker inside the web process: real servers, real signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest
from sqlalchemy.orm import Session

from outbox.models import OutboxEffect, OutboxWorker
from tests.servers.databases import Database
from tests.story import handlers_app
from tests.story.conftest import MakeStage
from tests.story.served import Served
from tests.story.soak import CONNECTIONS, KILLS, MAILS, Account, balance
from tests.story.stage import ROOT, Relay, Stage, plain_environment, until

POLICIES = ["retry", "hold"] if "OUTBOX_TEST_KILLS" in os.environ else ["either"]


@pytest.fixture
def served_stage(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> Stage:
    return make_stage(sqlite_database, relay.port)


def rows(stage: Stage) -> list[OutboxWorker]:
    """Of all workers that ever were."""
    with Session(stage.engine, expire_on_commit=False) as session:
        return list(session.query(OutboxWorker).order_by(OutboxWorker.id))


def sends(server: Served, stage: Stage, relay: Relay, workers: int) -> None:
    """The workers come up in the processes that serve, and what a request commits arrives."""
    until(lambda: len(rows(stage)) >= workers, f"{workers} workers start; {server.log()}", 30)
    ids = server.post("/?count=3")
    assert server.post("/?rollback=1")
    assert stage.settle(30) == {"sent": 3}
    assert {id_ for id_, _ in relay.copies()} == set(ids)
    pids = {process.pid for process in server.family()}
    assert {row.pid for row in rows(stage)} <= pids
    for pid in pids:  # requests run wherever there is room
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        assert {frozenset(os.sched_getaffinity(one)) for one in threads} == {frozenset(os.sched_getaffinity(0))}


def ends_in_good_order(server: Served, stage: Stage) -> None:
    """With its workers deregistered, and nothing left behind."""
    family = server.family()
    server.signal(signal.SIGTERM)
    server.wait(30)
    psutil.wait_procs(family, 20)
    assert not any(process.is_running() for process in family)
    assert all(row.stopped_at is not None for row in rows(stage)), server.log()
    assert "Traceback" not in server.log(), server.log()


@pytest.mark.databases("postgresql")
def test_handlers_are_called_once(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """By one of the two processes that serve: one row of the handler's for each message."""
    stage = make_stage(database, relay.port)
    handlers_app.NOTES.create(stage.engine)
    with Served(stage, "gunicorn --preload", STORY_HANDLERS="sent").ready() as server:
        until(lambda: len(rows(stage)) >= 2, f"two workers start; {server.log()}", 30)
        ids = server.post("/?count=20")
        until(lambda: len(handlers_app.notes(stage.engine)) >= 20 and not undone(stage), "all handlers are called")
        assert Counter(one.message_id for one in handlers_app.notes(stage.engine)) == Counter(ids)
        ends_in_good_order(server, stage)


def undone(stage: Stage) -> int:
    """Effects that are still to do."""
    with Session(stage.engine) as session:
        return session.query(OutboxEffect).count()


@pytest.mark.parametrize(
    ("name", "workers"),
    [
        pytest.param("gunicorn", 2, marks=pytest.mark.long),
        ("gunicorn --preload", 2),
        pytest.param("gunicorn gthread", 2, marks=pytest.mark.long),
        pytest.param("waitress", 1, marks=pytest.mark.long),
        pytest.param("uwsgi", 2, marks=pytest.mark.long),
        pytest.param("flask run", 1, marks=pytest.mark.long),
    ],
)
def test_a_server_sends_its_own_mail(served_stage: Stage, relay: Relay, name: str, workers: int) -> None:
    """One worker in each process that serves, none in the one that forks them; all end with the server."""
    with Served(served_stage, name).ready() as server:
        sends(server, served_stage, relay, workers)
        assert len(rows(served_stage)) == workers
        ends_in_good_order(server, served_stage)


def test_a_reloader_starts_one_and_starts_it_again(served_stage: Stage, relay: Relay, tmp_path: Path) -> None:
    """In the child that serves; one message from `flask run` leaves without a second terminal."""
    touched = tmp_path / "touched"
    touched.touch()
    with Served(served_stage, "flask run --reload", "--extra-files", str(touched)).ready() as server:
        sends(server, served_stage, relay, 1)
        (first,) = rows(served_stage)
        assert first.pid != server.pid
        os.utime(touched, (0.0, time.time() + 10))
        until(lambda: len(rows(served_stage)) == 2, "the new one starts", 30)
        first, second = rows(served_stage)
        assert first.stopped_at is not None
        assert second.pid != first.pid
        assert second.stopped_at is None


@pytest.mark.long
@pytest.mark.parametrize("name", ["gunicorn", "gunicorn --preload"])
def test_one_on_each_host(served_stage: Stage, relay: Relay, name: str) -> None:
    """And when its process is killed, another process has it within seconds."""
    with Served(served_stage, name, OUTBOX_IN_PROCESS="host").ready() as server:
        sends(server, served_stage, relay, 1)
        (first,) = rows(served_stage)
        for _ in range(20):  # requests to both
            server.get("/")
        assert len(rows(served_stage)) == 1
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: len(rows(served_stage)) == 2, f"another has it: {server.log()}", 30)
        served_stage.send(2)
        assert served_stage.settle(30) == {"sent": 5}
        server.signal(signal.SIGTERM)
        server.wait(30)
        assert rows(served_stage)[1].stopped_at is not None


@pytest.mark.long
def test_by_a_call_instead_of_the_setting(served_stage: Stage, relay: Relay) -> None:
    """`mail.start()`."""
    with Served(served_stage, "waitress", OUTBOX_IN_PROCESS="", SERVED_START="1").ready() as server:
        sends(server, served_stage, relay, 1)
        ends_in_good_order(server, served_stage)


@pytest.mark.long
def test_never_under_testing_nor_in_a_command(served_stage: Stage) -> None:
    """Nor in what a command forks."""
    with Served(served_stage, "gunicorn --preload", SERVED_TESTING="1").ready() as server:
        server.post()
        assert "outbox" not in server.get("/threads")
    environ = {**plain_environment(), **served_stage.environ, "OUTBOX_IN_PROCESS": "true"}
    command = [sys.executable, "-m", "flask", "--app", "tests.story.served_app:app"]
    done = subprocess.run([*command, "forks"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["MainThread", "outbox-launcher"], done.stderr
    said = "import threading, time; time.sleep(1); print([thread.name for thread in threading.enumerate()])"
    shell = subprocess.run(
        [*command, "shell"], cwd=ROOT, env=environ, input=said, capture_output=True, text=True, timeout=60
    )
    assert "outbox-worker" not in shell.stdout
    assert "outbox-launcher" in shell.stdout
    assert rows(served_stage) == []
    assert served_stage.states() == {"queued": 1}


@pytest.mark.long
def test_it_waits_for_tables_and_database(databases: object, relay: Relay, make_stage: MakeStage) -> None:
    """The server serves meanwhile, and says once what is missing."""
    from tests.servers.databases import Databases

    assert isinstance(databases, Databases)
    with databases.empty("sqlite") as database:
        stage = make_stage(database, relay.port)
        with Served(stage, "waitress").ready() as server:
            until(lambda: "can't run" in server.log(), "it says so")
            server.get("/")
            assert stage.command("outbox-create-tables").returncode == 0
            until(lambda: rows(stage), "it starts", 60)
            server.post()
            assert stage.settle(30) == {"sent": 1}
            assert server.log().count("can't run") == 1


@pytest.mark.long
@pytest.mark.databases("postgresql", "sqlite")
def test_gevent(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Works where the driver lets other greenlets run; on SQLite it is refused, with what to do instead."""
    stage = make_stage(database, relay.port)
    with Served(stage, "gunicorn gevent").ready() as server:
        if database.name == "sqlite":
            server.post()
            until(lambda: "Start outbox-sender beside the server" in server.log(), "it is refused")
            assert rows(stage) == []
        else:
            sends(server, stage, relay, 1)
            ends_in_good_order(server, stage)


@pytest.mark.long
@pytest.mark.databases("postgresql", "sqlite")
@pytest.mark.parametrize("policy", POLICIES)
def test_killed_again_and_again(database: Database, relay: Relay, make_stage: MakeStage, policy: str) -> None:
    """A process of gunicorn, by `kill -9`: nothing lost, no ghosts, few duplicates.

    A short loop; `make test-engines` has the long one.
    """
    policy = {"sqlite": "retry", "postgresql": "hold"}[database.name] if policy == "either" else policy
    name = {"retry": "gunicorn", "hold": "gunicorn --preload"}[policy]
    chance = random.Random(f"{database.name} {policy}")
    account = Account()
    settings = {"OUTBOX_ON_UNCERTAIN": policy, "OUTBOX_CONNECTIONS": str(CONNECTIONS)}
    stage = make_stage(database, relay.port, **settings)
    with Served(stage, name).ready() as server:
        for number in range(1, KILLS + 1):
            while len(account.committed) < MAILS * number // KILLS:
                account.committed.update(_posted(server, "/?count=5"))
            account.rolled_back.update(_posted(server, "/?rollback=1"))
            target = len(relay.taken()) + chance.randrange(12)
            with suppress(TimeoutError):
                until(lambda target=target: len(relay.taken()) >= target, "a moment to kill", chance.uniform(0.0, 0.4))
            victim = chance.choice(until(lambda: _serving(server), "one serves"))
            victim.kill()
            account.kills += 1
        assert len(account.committed) == MAILS
        account.states = stage.settle(90)
        found = stage.ids(*account.states)
        assert account.committed <= found
        account.committed |= found  # a request that was cut off had committed
        balance(account, stage, relay)
        print(account)  # `make test-engines` shows it
        assert list(account.faults(policy)) == []


def _posted(server: Served, path: str) -> list[str]:
    """Asked again where the process that had the request was killed."""

    def ask() -> list[str]:
        with suppress(OSError, HTTPException):
            return server.post(path)
        return []

    return until(ask, "a request is answered")


def _serving(server: Served) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(server.pid).children()
    return []
