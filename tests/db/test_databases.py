"""The tests' own databases."""

from __future__ import annotations

import os
import signal
import subprocess

import psutil
import pytest
import sqlalchemy as sa

from outbox.models import Base
from outbox.store.queue import Queue
from tests.servers.databases import Database, Databases
from tests.servers.frozen import frozen
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import polled


def test_database_has_the_tables_and_is_fresh(database: Database) -> None:
    """Each test gets the outbox's tables without a row, by both kinds of engine."""
    for engine in (database.engine, database.worker_engine):
        with engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_empty_database_has_no_table(empty_database: Database) -> None:
    """A test of migrations starts from nothing."""
    assert sa.inspect(empty_database.engine).get_table_names() == []


CHANGES = (
    "ALTER TABLE outbox_worker ADD COLUMN more INTEGER",
    "ALTER TABLE outbox_attempt RENAME COLUMN note TO remark",
    "CREATE TABLE more (id INTEGER PRIMARY KEY)",
    "CREATE INDEX more ON outbox_worker (pid)",
    "DROP INDEX {index}",
    "CREATE VIEW more AS SELECT 1 AS one",
)


@pytest.mark.databases("postgresql", "mariadb")
def test_a_database_is_used_again_with_no_row_in_it(databases: Databases, database_name: str) -> None:
    """The next test finds the tables empty, ids from 1 on, and nobody connected."""
    with databases.with_schema(database_name) as first:
        add_worker(first)
        left = first.engine.connect()
        left.execute(sa.text("SELECT * FROM outbox_worker"))
    with databases.with_schema(database_name) as second:
        assert second.address == first.address
        assert add_worker(second) == 1
    left.invalidate()


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("change", CHANGES)
def test_a_database_that_a_test_has_changed_is_not_used_again(
    databases: Databases, database_name: str, change: str
) -> None:
    """Whatever the change."""
    with databases.with_schema(database_name) as changed, changed.engine.begin() as connection:
        index = sa.inspect(connection).get_indexes("outbox_delivery")[0]["name"]
        on = " ON outbox_delivery" if database_name == "mariadb" else ""
        connection.execute(sa.text(change.format(index=f"{index}{on}")))
    with databases.with_schema(database_name) as other:
        assert other.address != changed.address


def add_worker(database: Database) -> int:
    """The new row's id."""
    queue = Queue(database.worker_engine, environment="", lease=60)
    return queue.register(host="here", pid=1, version="1", connections=1)


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("immediate", [False, True], ids=["fast", "immediate"])
def test_server_can_be_restarted(database: Database, immediate: bool) -> None:
    """What was committed is there after a restart, a crash included, at the same address."""
    if not isinstance(database.server, PostgresServer | MariaDBServer):
        pytest.skip("the server is not ours to stop")
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO kept VALUES (7)"))
    database.dispose()
    database.server.restart(immediate=immediate)
    with database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT id FROM kept")) == 7


def test_a_frozen_process_that_has_ended_is_in_nobodys_way() -> None:
    """Ended before it is stopped, or while it stands still: the others are stopped, and run again."""
    lost, killed, kept = (subprocess.Popen(["sleep", "60"]) for _ in range(3))
    try:
        _end(lost)
        with frozen([lost.pid, killed.pid, kept.pid]):
            with polled("it stands still", 10) as wait_a_little:
                while psutil.Process(kept.pid).status() != psutil.STATUS_STOPPED:
                    wait_a_little()
            _end(killed)
        with polled("it runs again", 10) as wait_a_little:
            while psutil.Process(kept.pid).status() == psutil.STATUS_STOPPED:
                wait_a_little()
    finally:
        for process in (killed, kept):
            _end(process)


@pytest.mark.databases("postgresql")
def test_a_database_is_dropped_though_a_server_process_stands_still(databases: Databases, database_name: str) -> None:
    """A test that ended badly costs the next ones nothing: their databases are made and dropped as usual."""
    server = databases.server(database_name)
    if not server.controllable:
        pytest.skip("the server is not ours to stop")
    with databases.empty(database_name) as left, left.engine.connect() as connection:
        os.kill(connection.scalar(sa.text("SELECT pg_backend_pid()")), signal.SIGSTOP)
        connection.invalidate()
    with databases.with_schema(database_name) as next_one, next_one.engine.connect() as connection:
        names = connection.execute(sa.text("SELECT datname FROM pg_database"))
        assert left.address.database not in set(names.scalars())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
