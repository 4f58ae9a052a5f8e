"""Work on SQLite that another thread ends: in mid statement, while it waits, and between two statements."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from outbox.store.engines import with_own_pool, worker_engine
from outbox.store.interruptible import Ended, end, interruptible
from outbox.store.reading import reading
from tests.servers.databases import Database
from tests.story.stage import until

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def engine(sqlite_database: Database) -> sa.Engine:
    """With a table of its own."""
    engine = with_own_pool(worker_engine(sqlite_database.address, timeout=1.0))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE note (said TEXT)")
    return engine


class Work:
    """Done in a thread of its own."""

    def __init__(self, engine: sa.Engine, do: Callable[[sa.Connection, Work], None]) -> None:
        self.driver: Any = None
        self.goes_on = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(engine, do), daemon=True)
        self.thread.start()

    def _run(self, engine: sa.Engine, do: Callable[[sa.Connection, Work], None]) -> None:
        try:
            with reading(engine) as connection:
                driver: Any = connection.connection.dbapi_connection
                with interruptible(driver), connection.begin():
                    self.driver = driver
                    do(connection, self)
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        """From the calling thread, and wait for its own."""
        until(lambda: self.driver is not None, "it has begun")
        end(self.driver)
        self.goes_on.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def write(connection: sa.Connection) -> None:
    """One row."""
    connection.exec_driver_sql("INSERT INTO note VALUES ('x')")


def notes(engine: sa.Engine) -> int:
    """How many were committed."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM note").scalar_one())


def test_what_was_written_is_rolled_back_while_it_hangs(engine: sa.Engine) -> None:
    """The write lock is free at once; the next statement is refused, and so is a commit."""
    written = threading.Event()

    def hang(connection: sa.Connection, work: Work) -> None:
        write(connection)
        written.set()
        work.goes_on.wait(30)
        write(connection)

    work = Work(engine, hang)
    assert written.wait(30)
    end(work.driver)
    with engine.begin() as connection:  # waits a second at most
        write(connection)
    work.end()
    assert isinstance(work.error, Ended)
    assert notes(engine) == 1


def test_it_can_not_commit(engine: sa.Engine) -> None:
    """Where it returns after it was ended."""
    written = threading.Event()

    def late(connection: sa.Connection, work: Work) -> None:
        write(connection)
        written.set()
        work.goes_on.wait(30)

    work = Work(engine, late)
    assert written.wait(30)
    work.end()
    assert isinstance(work.error, Ended)
    assert notes(engine) == 0


def test_what_computes_is_interrupted(engine: sa.Engine) -> None:
    """However long it would take."""
    begun = threading.Event()

    def compute(connection: sa.Connection, work: Work) -> None:
        begun.set()
        connection.exec_driver_sql(ENDLESS)

    work = Work(engine, compute)
    assert begun.wait(30)
    until(lambda: _ended(work), "it is interrupted")
    assert work.error is not None


def _ended(work: Work) -> bool:
    end(work.driver)  # before the statement began, perhaps: then that is refused
    work.thread.join(0.01)
    return not work.thread.is_alive()


def test_what_waits_for_the_write_lock_ends_with_its_wait(engine: sa.Engine) -> None:
    """And the process lives on: the driver breaks it where a connection is closed under a statement."""
    for _ in range(20):
        with engine.begin() as connection:
            write(connection)
            work = Work(engine, lambda connection, _: write(connection))
            until(lambda work=work: work.driver is not None, "it has begun")  # type: ignore[misc]
            ending = threading.Thread(target=end, args=(work.driver,))
            ending.start()
        ending.join(30)
        work.thread.join(30)
        assert work.error is not None
    assert notes(engine) == 20
