"""Clocks stepped by an hour under real processes: the workers', and the one of the database that due times rest on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import required
from tests.servers.databases import Database, Databases
from tests.servers.faketime import FakeClock
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerUnavailable
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, stand_still, until
from tests.wire.actions import Later, Take
from tests.wire.server import SmtpServer

pytestmark = pytest.mark.long

HOUR = 3600.0
LIMIT = 60.0


class Faked(NamedTuple):
    """A database whose time comes from a clock that can be stepped."""

    database: Database
    clock: FakeClock
    workers: dict[str, str]  # a worker's environment: SQLite's clock is that of the process


@pytest.fixture
def faked(database_name: str, clock: FakeClock, tmp_path: Path) -> Iterator[Faked]:
    """Each database under a clock of its own; on SQLite it is the workers' and not the application's."""
    with ExitStack() as stack:
        if database_name == "sqlite":
            databases = Databases(tmp_path)
        else:
            databases = stack.enter_context(_own_server(database_name, clock, tmp_path))
        database = stack.enter_context(databases.with_schema(database_name))
        yield Faked(database, clock, dict(clock.environ) if database_name == "sqlite" else {})


@contextmanager
def _own_server(name: str, clock: FakeClock, folder: Path) -> Iterator[Databases]:
    make = PostgresServer if name == "postgresql" else MariaDBServer
    try:
        server = make(environ=clock.environ)
    except ServerUnavailable as reason:
        if required(name):
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    databases = Databases(folder, server)
    try:
        yield databases
    finally:
        databases.close()


def told(stage: Stage, environ: dict[str, str]) -> str:
    """What `outbox-status` says besides figures."""
    said = stage.status(**environ)
    return "\n".join(said["notes"] + said["problems"])


def test_a_database_clock_stepped_forward_sends_nothing_twice(faked: Faked, make_stage: MakeStage) -> None:
    """Every lease looks run out, and every worker dead: no mail is claimed a second time, and all goes on."""
    settings = {"OUTBOX_LEASE_SECONDS": "600", "OUTBOX_HEARTBEAT_SECONDS": "3", "OUTBOX_DEAD_AFTER_SECONDS": "12"}
    with SmtpServer({"dot": Take(Later(0.3, "250 2.0.0 ok"))}) as server:
        stage = make_stage(faked.database, server.port, **settings)
        workers = [stage.start(**faked.workers) for _ in range(2)]
        stage.send_together(110)  # fewer than two workers lease ahead: nothing else is left to claim
        server.wait_for(10)
        faked.clock.step(HOUR)
        assert stage.settle(LIMIT) == {"sent": 110}
        assert len(server.messages) == 110
        assert {(row.attempts, row.rescues) for row in stage.deliveries()} == {(1, 0)}
        stage.send()
        server.wait_for(111, LIMIT)
        until(lambda: "clock jumped by +3600 s" in told(stage, faked.workers), "the status tells", LIMIT)
        assert all(worker.log().count("status=lost-lease") == 0 for worker in workers)


def test_a_database_clock_stepped_back_holds_nothing_up(faked: Faked, relay: Relay, make_stage: MakeStage) -> None:
    """What was due stays due, and the mail of a worker that was killed right then is rescued, within a minute."""
    settings = {"OUTBOX_LEASE_SECONDS": "600", "OUTBOX_HEARTBEAT_SECONDS": "1", "OUTBOX_DEAD_AFTER_SECONDS": "4"}
    with SmtpServer({"dot": Later(60.0, "250 2.0.0 too late")}) as slow:
        stage = make_stage(faked.database, relay.port, **settings)
        survivor = stage.start(**faked.workers)
        stage.send()
        stage.settle()
        stand_still(survivor, stage.engine)
        victim = stage.start(**faked.workers, MAIL_PORT=str(slow.port))
        ids = stage.send_together(100)
        slow.wait_until(lambda: slow.steps["dot"], 20, "a mail under way")
        victim.signal(signal.SIGKILL)
        victim.wait(10)
        survivor.signal(signal.SIGCONT)
        faked.clock.step(-HOUR)
        ids += stage.send(3)
        assert stage.settle(LIMIT) == {"sent": 104}
    assert {one.id for one in relay.taken()} >= set(ids)
    assert len(relay.taken()) == 104
    until(lambda: "clock jumped by -3600 s" in told(stage, faked.workers), "the status tells", LIMIT)


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_workers_own_clock_is_of_no_account(
    database: Database, relay: Relay, make_stage: MakeStage, clock: FakeClock, step: float
) -> None:
    """The worker's machine steps, the database's does not: heartbeat and mail go on at once, and the status tells."""
    stage = make_stage(database, relay.port)
    worker = stage.start(**clock.environ)
    stage.send()
    stage.settle()
    clock.step(step)
    until(lambda: f"clock jumped by {step:+.0f} s" in told(stage, {}), "the status tells", LIMIT)
    before = stage.row(worker)
    assert before is not None
    until(lambda: stage.row(worker).heartbeat_at > before.heartbeat_at, "the heartbeat")  # type: ignore[union-attr]
    stage.send(3)
    assert stage.settle(LIMIT) == {"sent": 4}
    assert {row.rescues for row in stage.deliveries()} == {0}
