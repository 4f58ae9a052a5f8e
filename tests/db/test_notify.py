"""A commit wakes the worker; what was rolled back does not, and a lost listener comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.core.sync import Flag
from outbox.operations import Filter, send_now
from outbox.store.databases import of
from outbox.store.enqueue import Posting, enqueue
from outbox.store.queue import Queue
from tests.db.mails import put as put_in_state
from tests.db.test_queue import composed

WAKE = Posting(wake=True)
LONG = 20.0  # seconds: never waited for unless something is broken
SHORT = 0.3


@pytest.fixture
def queue(engine: sa.Engine) -> Iterator[Queue]:
    """One that has claimed on the connection it keeps, and whose early news are taken in."""
    queue = Queue(engine, environment="", lease=60, wake=True)
    with queue.connected():
        claim(queue)
        while woken(queue, SHORT):
            pass
        yield queue


def claim(queue: Queue) -> int:
    return len(queue.claim(worker_id=1, token=1, limit=10))


def woken(queue: Queue, timeout: float, flag: Flag | None = None) -> bool:
    """Whether `wait` ended before its time."""
    began = time.monotonic()
    queue.wait(flag or Flag(), timeout)
    return time.monotonic() - began < timeout * 0.9


def put(engine: sa.Engine, *, commit: bool = True) -> None:
    with Session(engine) as session:
        enqueue(session, composed(), WAKE)
        session.commit() if commit else session.rollback()


@pytest.mark.databases("postgresql")
def test_a_commit_ends_the_wait_and_a_rollback_does_not(engine: sa.Engine, queue: Queue) -> None:
    """The news belong to the transaction, and are news once."""
    put(engine, commit=False)
    assert not woken(queue, SHORT)
    put(engine)
    assert woken(queue, LONG)
    assert claim(queue) == 1
    assert not woken(queue, SHORT)


@pytest.mark.databases("postgresql")
def test_mail_that_is_sent_now_ends_the_wait(engine: sa.Engine, queue: Queue) -> None:
    """Scheduled mail is no news until an operator, or the application, wants it sent."""
    wanted = Filter(ids=(put_in_state(engine, ago=-600.0)[0],))
    assert not woken(queue, SHORT)
    with engine.begin() as connection:
        assert send_now(connection, wanted, by="ann") == 1
    assert woken(queue, LONG)
    assert claim(queue) == 1


@pytest.mark.databases("postgresql")
def test_a_commit_while_it_waits(engine: sa.Engine, queue: Queue) -> None:
    """From another thread, as the application's."""
    putting = threading.Timer(SHORT, put, args=(engine,))
    putting.start()
    assert woken(queue, LONG)
    assert claim(queue) == 1
    putting.join()


@pytest.mark.databases("postgresql")
def test_news_that_come_along_with_a_result_are_heard(engine: sa.Engine) -> None:
    """The driver reads them from the same socket: a commit that a claim has just missed must not wait for the poll."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        listener = of(connection).listener(connection)
        assert not listener.heard()
        put(engine)
        connection.exec_driver_sql("SELECT 1")
        assert listener.heard()
        assert not listener.heard()
        connection.detach()


@pytest.mark.databases("postgresql")
def test_a_killed_listener_listens_again(engine: sa.Engine, queue: Queue) -> None:
    """The server ends the connection: the wait ends at once, and the next claim brings another that listens."""
    with engine.begin() as connection:
        killed = connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        gone = killed.scalars().all()  # and not only told to go
        assert gone
        assert all(gone)
    assert woken(queue, LONG)
    put(engine)
    assert claim(queue) == 1
    put(engine)
    assert woken(queue, LONG)


def test_the_flag_ends_the_wait(queue: Queue) -> None:
    """Whatever the database: it is how the worker's own threads ask for a look at the queue."""
    flag = Flag()
    assert not woken(queue, SHORT, flag)
    threading.Timer(SHORT, flag.set).start()
    assert woken(queue, LONG, flag)
    assert woken(queue, LONG, flag), "it is still set"
    flag.clear()
    assert not woken(queue, SHORT, flag)


def test_without_wake_a_commit_is_not_told_of(engine: sa.Engine) -> None:
    """OUTBOX_WAKE=false."""
    queue = Queue(engine, environment="", lease=60)
    with queue.connected():
        claim(queue)
        put(engine)
        assert not woken(queue, SHORT)


@pytest.mark.databases("sqlite")
def test_the_file_is_watched(engine: sa.Engine) -> None:
    """A commit changes its data version, a rollback does not."""
    heard = threading.Semaphore(0)
    watch = of(engine).watch(engine)
    assert watch is not None
    thread = threading.Thread(target=watch.run, args=(heard.release,))
    thread.start()
    try:
        assert heard.acquire(timeout=LONG)  # it looks once when it begins
        while heard.acquire(timeout=SHORT):
            pass
        put(engine, commit=False)
        assert not heard.acquire(timeout=SHORT)
        put(engine)
        assert heard.acquire(timeout=LONG)
    finally:
        watch.stop()
        thread.join(LONG)
    assert not thread.is_alive()


def test_who_has_what(engine: sa.Engine) -> None:
    """MariaDB has nothing to listen to and is polled."""
    database = of(engine)
    has = (database.can_listen(engine), database.watch(engine) is not None)
    assert has == {"postgresql": (True, False), "sqlite": (False, True), "mariadb": (False, False)}[engine.dialect.name]
