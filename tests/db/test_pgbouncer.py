"""Through PgBouncer in transaction mode: all works, and nothing of ours is left in the application's sessions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from outbox import operations
from outbox.core.sync import Flag
from outbox.delivery.rate_limits import parse
from outbox.delivery.states import State
from outbox.store.engines import engine_like
from outbox.store.enqueue import Posting, enqueue
from outbox.store.queue import Queue
from outbox.store.rates import TRANSPORT
from outbox.store.record import Outcome, OutcomeStore
from tests.db.mails import composed
from tests.servers.pgbouncer import PgBouncer

pytestmark = pytest.mark.databases("postgresql")

SET = sa.text(
    "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name', "
    "'client_encoding', 'DateStyle', 'IntervalStyle', 'TimeZone', 'standard_conforming_strings')"
)
"""What somebody has set for the session; the names left out are the pooler's own business."""


@pytest.fixture
def engine(pooler: PgBouncer) -> Iterator[sa.Engine]:
    """The application's; prepared statements are off, as its makers must do behind such a pooler."""
    engine = sa.create_engine(pooler.address, connect_args={"prepare_threshold": None}, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def theirs(pooler: PgBouncer) -> Iterator[sa.Engine]:
    """The workers', of an application that left the driver as it is."""
    engine = engine_like(sa.create_engine(pooler.address))
    yield engine
    engine.dispose()


def test_nothing_is_left_in_a_session(engine: sa.Engine, theirs: sa.Engine) -> None:
    """After claims, records, heartbeats and looks the one server connection is as it was."""
    queue, outcome_store = Queue(theirs, environment="", lease=60, wake=True), OutcomeStore(theirs)
    with queue.connected(), outcome_store.connected():
        worker_id = queue.register(host="h", pid=1, version="1", connections=1)
        for number in range(12):  # from the fifth time on the driver would prepare a statement
            with Session(engine) as session:
                enqueue(session, composed(message_id=f"<{number}@example.org>"), Posting(wake=True))
                session.commit()
            queue.wait(Flag(), 0.01)
            assert queue.rates.reserve(TRANSPORT, "relay", parse("100/d"), 8, worker=worker_id).permits == 8
            (claimed,) = queue.claim(worker_id, number + 1, 10)
            outcome = Outcome(claimed, State.SENT, None, True, False, None, None, None)
            assert outcome_store.record(worker_id, [outcome]) == set()
            queue.beat(worker_id, {})
            with operations.connected(theirs) as connection:
                assert operations.find(connection, operations.Filter())
            with engine.connect() as connection:
                assert connection.execute(SET).all() == []
                assert connection.scalar(sa.text("SELECT count(*) FROM pg_listening_channels()")) == 0
                assert connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_transactions_have_the_settings_all_the_same(theirs: sa.Engine) -> None:
    """Each for itself: one that stands still is ended, and what is recorded survives a crash."""
    with theirs.begin() as connection:
        assert connection.scalar(sa.text("SHOW idle_in_transaction_session_timeout")) == "10s"
        connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
    with theirs.begin() as connection:
        assert connection.scalar(sa.text("SHOW synchronous_commit")) == "on"
