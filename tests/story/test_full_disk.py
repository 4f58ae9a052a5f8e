"""A database whose disk is full: nothing is sent that can't be written down, and it goes on when there is room."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import required
from tests.servers.databases import Database, Databases
from tests.servers.disk import SmallDisk
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerUnavailable
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, until
from tests.wire.actions import Take
from tests.wire.server import SmtpServer

pytestmark = pytest.mark.long

MEGABYTES = {"postgresql": 160, "mariadb": 320}
WORDY = "250 2.0.0 ok " + "x" * 480  # kept with each attempt: every few of them need a new page
NOTICED = ("outcomes can't be recorded", "waits for the database")  # by the recorder, or whatever else needs to write
FULL = ("No space left on device", "is full")
CONNECTIONS = 4


@pytest.fixture
def disk(database_name: str) -> Iterator[SmallDisk]:
    """A disk that only this test's server is on."""
    try:
        made = SmallDisk(MEGABYTES[database_name])
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.fixture
def on_disk(database_name: str, disk: SmallDisk, tmp_path: Path) -> Iterator[Database]:
    """A database with the outbox's tables on that disk."""
    try:
        make = PostgresServer if database_name == "postgresql" else MariaDBServer
        server = make(folder=disk.folder)
    except ServerUnavailable as reason:
        if required(database_name):
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    databases = Databases(tmp_path, server)
    try:
        with databases.with_schema(database_name) as database:
            yield database
    finally:
        databases.close()


def standstill(server: SmtpServer, seconds: float = 2.0) -> Callable[[], bool]:
    """A condition: no mail has come for so long."""
    last = (0, 0.0)

    def stands_still() -> bool:
        nonlocal last
        if len(server.messages) != last[0]:
            last = (len(server.messages), time.monotonic())
        return time.monotonic() - last[1] > seconds

    return stands_still


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.once("postgresql")
def test_a_server_without_room_stops_the_sending(on_disk: Database, disk: SmallDisk, make_stage: MakeStage) -> None:
    """Not a byte left: at most one mail for each connection is sent and not yet recorded; with room it goes on."""
    total = 3000
    with SmtpServer({"dot": Take(WORDY)}) as server:
        stage = make_stage(on_disk, server.port)
        stage.send_together(total)
        worker = stage.fork()
        server.wait_for(20)
        disk.fill()
        until(lambda: any(words in worker.log() for words in NOTICED), "the worker notices", 40)
        until(standstill(server), "the sending stops")
        assert len(server.messages) < total
        assert on_disk.server is not None
        if on_disk.server.running:
            assert any(words in worker.log() for words in FULL), worker.log()[-2000:]
            assert len(server.messages) - stage.states()["sent"] <= CONNECTIONS
        disk.make_room()
        on_disk.server.start()  # a server that has ended for want of room is started again as by its supervisor
        assert stage.settle(75) == {"sent": total}
        assert len({mail.rcpt for mail in server.messages}) == len(server.messages) == total


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's prlimit")
def test_a_full_disk_stops_the_sending(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """No mail is sent that can't be recorded, beyond one for each connection; it goes on when there is room."""
    stage = make_stage(sqlite_database, relay.port)
    stage.send_together(300)
    worker = stage.fork()
    until(lambda: len(relay.taken()) > 10, "mail flows")
    size = Path(f"{sqlite_database.path}-wal").stat().st_size
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))  # no file may grow beyond
    until(lambda: any(words in worker.log() for words in NOTICED), "the worker notices")
    before = len(relay.taken())
    with pytest.raises(TimeoutError):
        until(lambda: len(relay.taken()) > before + 4, "mail that can't be recorded", 2)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert stage.settle() == {"sent": 300}
    assert len(relay.taken()) == 300
