"""A database that hangs without dying: each call on it ends, and what comes next is on a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.store.engines import engine_like
from outbox.store.enqueue import Posting, enqueue
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from tests.db.mails import composed
from tests.servers.databases import Database
from tests.servers.proxy import Freezer

pytestmark = pytest.mark.databases("postgresql", "mariadb")

SECONDS = 1.0
Call = Callable[[sa.Connection], object]


@pytest.fixture
def proxy(database: Database) -> Iterator[Freezer]:
    with Freezer((str(database.address.host), int(database.address.port or 0))) as proxy:
        yield proxy


@pytest.fixture
def engine(database: Database, proxy: Freezer) -> Iterator[sa.Engine]:
    """The workers' engine for an application that reaches its database through the proxy."""
    source = sa.create_engine(database.address.set(port=proxy.port), pool_size=1)
    engine = engine_like(source, timeout=SECONDS)
    yield engine
    engine.dispose()
    source.dispose()


@pytest.mark.parametrize(
    "call",
    [
        lambda connection: connection.execute(sa.text("SELECT 1")),
        lambda connection: connection.commit(),
        lambda connection: connection.rollback(),
    ],
    ids=["statement", "commit", "rollback"],
)
def test_a_call_ends(engine: sa.Engine, proxy: Freezer, call: Call) -> None:
    """It fails as when the server has gone, and the next connection works once the database does."""
    with engine.connect() as connection:
        connection.execute(sa.text("UPDATE outbox_worker SET pid = 1"))
        proxy.freeze(new=True)
        began = time.monotonic()
        with pytest.raises((sa.exc.OperationalError, sa.exc.InterfaceError)):
            call(connection)
        assert time.monotonic() - began < SECONDS + 20
    proxy.thaw()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_asking_an_idle_connection_and_opening_another_end(engine: sa.Engine, proxy: Freezer) -> None:
    """The pool asks what it has before it gives it out, and connects anew in its stead: both are waited for."""
    engine.connect().close()
    proxy.freeze(new=True)
    began = time.monotonic()
    with pytest.raises((sa.exc.OperationalError, sa.exc.InterfaceError)), engine.connect():
        pass
    assert time.monotonic() - began < 2 * SECONDS + 20


def test_the_claiming_and_the_recording_connection(engine: sa.Engine, database: Database, proxy: Freezer) -> None:
    """Those are kept by their threads, and are opened anew."""
    queue, outcome_store = Queue(engine, environment="", lease=60, wake=True), OutcomeStore(engine)
    with queue.connected(), outcome_store.connected():
        assert queue.claim(1, 1, 10) == []
        outcome_store.record(1, [])
        proxy.freeze(new=True)
        for call in (lambda: queue.claim(1, 1, 10), lambda: outcome_store.record(1, [])):
            with pytest.raises((sa.exc.OperationalError, sa.exc.InterfaceError)):
                call()
        proxy.thaw()
        with Session(database.engine) as session:
            enqueue(session, composed(), Posting())
            session.commit()
        assert len(queue.claim(1, 1, 10)) == 1


def test_many_short_calls_are_left_alone(engine: sa.Engine) -> None:
    """The limit is that of one call, not of a connection."""
    end = time.monotonic() + 3 * SECONDS
    with engine.connect() as connection:
        while time.monotonic() < end:
            connection.execute(sa.text("SELECT 1"))
