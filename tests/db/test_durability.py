"""What a worker has written survives a crash of the database server, whatever the house has set for its sessions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.tables import DELIVERY
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from tests.db.mails import put
from tests.servers.databases import Database
from tests.servers.postgres import PostgresServer


@pytest.fixture
def careless(database: Database) -> Iterator[PostgresServer]:
    """A server that answers a COMMIT first and writes its log seconds later, where sessions don't ask for more."""
    server = database.server
    if not isinstance(server, PostgresServer):
        pytest.skip("the server is not ours to stop")
    house = sa.create_engine(database.address, isolation_level="AUTOCOMMIT")
    with house.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{database.address.database}" SET synchronous_commit = off')
        connection.exec_driver_sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    house.dispose()
    yield server
    server.start()
    with house.connect() as connection:
        connection.exec_driver_sql("ALTER SYSTEM RESET wal_writer_delay")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    house.dispose()


@pytest.mark.databases("postgresql")
def test_marks_and_outcomes_survive_a_crash(database: Database, careless: PostgresServer) -> None:
    """`synchronous_commit` is off in the house, and the server dies right after a worker has written them."""
    engine = database.worker_engine
    sent, marked = put(engine, "a@example.org", "b@example.org")
    with engine.connect() as connection:
        connection.exec_driver_sql("CHECKPOINT")  # the message is not what this is about
    queue, outcome_store = Queue(engine, environment="", lease=600), OutcomeStore(engine)
    with queue.connected(), outcome_store.connected():
        worker_id = queue.register(host="h", pid=1, version="1", connections=1)
        claimed = {one.id: one for one in queue.claim(worker_id, 7, 10)}
        assert queue.mark(claimed[marked])
        assert (
            outcome_store.record(worker_id, [Outcome(claimed[sent], State.SENT, None, True, False, None, None, None)])
            == set()
        )
        careless.kill()
    engine.dispose()
    careless.start()
    with engine.connect() as connection:
        rows = connection.execute(sa.select(DELIVERY.c.id, DELIVERY.c.state, DELIVERY.c.marked_at.is_not(None)))
        assert sorted(tuple(row) for row in rows) == [(sent, "sent", False), (marked, "sending", True)]
