"""The tests' own databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox.models import Base
from tests.servers.databases import Database
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgres import PostgresServer


def test_database_has_the_tables_and_is_fresh(database: Database) -> None:
    """Each test gets the outbox's tables without a row, by both kinds of engine."""
    for engine in (database.engine, database.worker_engine):
        with engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_empty_database_has_no_table(empty_database: Database) -> None:
    """A test of migrations starts from nothing."""
    assert sa.inspect(empty_database.engine).get_table_names() == []


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
