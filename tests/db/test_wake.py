"""A commit wakes the worker; what was rolled back does not, and a lost listener comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.dialect import worker_engine
from outbox.enqueue import Posting, enqueue
from outbox.wake import waker_for
from tests.db.test_queue import composed
from tests.servers.databases import Database

WAKE = Posting(wake=True)


class Ear:
    """Counts nudges, and waits for them."""

    def __init__(self) -> None:
        self.heard = threading.Semaphore(0)

    def nudge(self) -> None:
        """What the waker calls."""
        self.heard.release()

    def hears(self, timeout: float) -> bool:
        """Whether a nudge comes within `timeout` seconds."""
        return self.heard.acquire(timeout=timeout)

    def quiet(self) -> None:
        """Until nothing more comes of what was before."""
        while self.hears(0.3):
            pass


@pytest.fixture
def engine(database: Database) -> Iterator[sa.Engine]:
    """The database as a worker sees it."""
    engine = worker_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def ear(engine: sa.Engine) -> Iterator[Ear]:
    """Listens while the test runs."""
    waker, ear = waker_for(engine), Ear()
    assert waker is not None
    thread = threading.Thread(target=waker.run, args=(ear.nudge,))
    thread.start()
    assert ear.hears(10)  # it looks once when it begins
    yield ear
    waker.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.databases("sqlite", "postgresql")
def test_a_commit_wakes_and_a_rollback_does_not(engine: sa.Engine, ear: Ear) -> None:
    """The nudge belongs to the transaction."""
    ear.quiet()
    with Session(engine) as session:
        enqueue(session, composed(), WAKE)
        session.rollback()
    assert not ear.hears(0.3)
    with Session(engine) as session:
        enqueue(session, composed(), WAKE)
        session.commit()
    assert ear.hears(5)


@pytest.mark.databases("postgresql")
def test_a_killed_listener_listens_again(engine: sa.Engine, ear: Ear) -> None:
    """The server ends the listening connection: another takes its place, and looks at once."""
    ear.quiet()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN outbox'"
        )
    assert ear.hears(10)
    ear.quiet()
    with Session(engine) as session:
        enqueue(session, composed(), WAKE)
        session.commit()
    assert ear.hears(5)


@pytest.mark.databases("mariadb")
def test_mariadb_is_polled(engine: sa.Engine) -> None:
    """It has nothing to listen to."""
    assert waker_for(engine) is None
