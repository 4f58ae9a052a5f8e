"""Looking takes no lock on SQLite: it neither waits for the application's writers, nor they for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.core.errors import DamagedMessageError, DatabaseError
from outbox.delivery.states import OnUncertain
from outbox.operations import Redactor
from outbox.store.engines import engine_like
from outbox.store.messages import StoredMessage
from outbox.store.queue import Queue
from outbox.store.rulings import Rulings
from tests.db.mails import put
from tests.servers.databases import Database

pytestmark = pytest.mark.databases("sqlite")

WAIT_SECONDS = 0.2


@pytest.fixture
def impatient(database: Database) -> Iterator[sa.Engine]:
    """A worker's engine that does not wait for a lock."""
    engine = engine_like(sa.create_engine(database.address), timeout=WAIT_SECONDS)
    yield engine
    engine.dispose()


LOOKS: dict[str, Callable[[sa.Engine], object]] = {
    "status": lambda engine: looked(engine, lambda c: operations.status(c, dead_after=20)),
    "list": lambda engine: looked(engine, lambda c: operations.find(c, operations.Filter())),
    "show": lambda engine: looked(engine, lambda c: operations.show(c, 1)),
    "gauges": lambda engine: looked(engine, lambda c: operations.gauges(c, dead_after=20)),
    "missing": operations.missing,
    "pauses": lambda engine: queue(engine).pauses(),
    "due": lambda engine: queue(engine).due(),
    "rescue": lambda engine: queue(engine).rescue(dead_after=20),
    "redact": lambda engine: Redactor(engine, ("reset",)).run(),
    "text of a message": lambda engine: text_part(queue(engine)),
    "recent refusals": lambda engine: Rulings(engine, environment="", transport="mx:25").recent(10),
    "whether outcomes can be recorded": operations.check_recording,
    "whether there is a history": operations.has_history,
    "claim of nothing": lambda engine: queue(engine).claim(1, 1, 10),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))
def test_a_look_does_not_wait_for_a_writer(database: Database, impatient: sa.Engine, look: Any) -> None:
    """The application is in the midst of a transaction."""
    with writing(database):
        look(impatient)


def test_a_long_look_does_not_stop_a_writer(database: Database, impatient: sa.Engine) -> None:
    """Another transaction begins, writes and commits while a report is being read, which sees its own moment."""
    put(database.worker_engine)
    with operations.connected(impatient) as connection:
        assert operations.count(connection, operations.Filter()) == 1
        with writing(database):
            pass
        put(impatient)
        assert operations.count(connection, operations.Filter()) == 1


def test_changes_take_the_lock_at_their_start(database: Database, impatient: sa.Engine) -> None:
    """Or they would fail in the middle, whatever the patience."""
    with writing(database), pytest.raises(DatabaseError, match="locked"), operations.transaction(impatient):
        pass


@contextmanager
def writing(database: Database) -> Iterator[None]:
    with closing(sqlite3.connect(str(database.path), timeout=WAIT_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")


def looked(engine: sa.Engine, what: Callable[[sa.Connection], object]) -> object:
    with operations.connected(engine) as connection:
        return what(connection)


def text_part(queue: Queue) -> None:
    with suppress(DamagedMessageError):  # there is none
        queue.contents.text_part(stored(), 0, 10)


def stored() -> StoredMessage:
    times = {"created_at": datetime.now(UTC), "expires_in": None}
    words = {"message_id": "<1@x>", "environment": "", "kind": None, "envelope_from": "a@example.org"}
    options = {"smtputf8": False, "mail_options": (), "rcpt_options": (), "on_uncertain": OnUncertain.RETRY}
    return StoredMessage(pk=1, size=20, skeleton=None, parts=(), skeleton_size=20, **words, **options, **times)


def queue(engine: sa.Engine) -> Queue:
    return Queue(engine, environment="", lease=60)
