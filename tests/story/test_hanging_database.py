"""A worker whose database hangs or is behind a pooler: it goes on, or says what it does instead."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.servers.databases import Database
from tests.servers.frozen import frozen
from tests.servers.pgbouncer import PgBouncer
from tests.servers.proxy import Freezer
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, until

LIMIT = "2"  # seconds


@pytest.mark.databases("postgresql")
def test_frozen_server_processes_are_left_behind(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """The processes that serve the worker stand still, all of them; it goes on with others."""
    stage = make_stage(database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS=LIMIT)
    worker = stage.start()
    stage.send(1)
    stage.settle()
    stage.engine.dispose()  # the test's own connections go on
    with frozen(backends(database)):
        stage.send(5)
        until(lambda: len(relay.taken()) == 6, "sent all the same")
        until(stage.settled, "recorded, too")
        until(lambda: stage.command("outbox-status").returncode == 0, "the status is healthy with the next heartbeat")
    assert "the database did not answer in time" in worker.log()


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.quick("postgresql")
def test_a_database_that_swallows_everything_for_a_while(
    database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """Nothing comes through, on old connections and new ones; once it does, all is sent, by the same worker."""
    with Freezer((str(database.address.host), int(database.address.port or 0))) as proxy:
        through = Database(database.name, database.address.set(port=proxy.port))
        stage = make_stage(database, relay.port, OUTBOX_DATABASE_TIMEOUT_SECONDS=LIMIT)
        worker = stage.start(DATABASE_URL=through.url)
        stage.send(1)
        stage.settle()
        proxy.freeze(new=True)
        until(lambda: "waits for the database" in worker.log(), "the worker says so", 30)
        proxy.thaw()
        stage.send(5)
        stage.settle()
        assert len(relay.taken()) == 6


@pytest.mark.databases("postgresql")
def test_behind_a_pooler(pooler: PgBouncer, relay: Relay, make_stage: MakeStage) -> None:
    """PgBouncer in transaction mode: a worker sends, and says once that it polls; commands answer."""
    through = Database("postgresql", pooler.address)
    stage = make_stage(through, relay.port)
    worker = stage.start()
    for _ in range(4):
        stage.send(5)
        stage.settle()
    assert len(relay.taken()) == 20
    assert worker.log().count("polling continues") == 1
    assert "can't store" not in worker.log()
    until(lambda: stage.command("outbox-status").returncode == 0, "the status is healthy with the next heartbeat", 30)
    through.dispose()


def backends(database: Database) -> list[int]:
    """The server processes of the database's clients."""
    engine = sa.create_engine(database.address.set(database="postgres"))
    statement = sa.text(
        "SELECT pid FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
    ).bindparams(name=database.address.database)
    with engine.connect() as connection:
        found = list(connection.execute(statement).scalars())
    engine.dispose()
    return found
