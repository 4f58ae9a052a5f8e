"""Promise 1 with each kind of session and engine: what the transaction takes back is not sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox import Message, Outbox, message_queued
from outbox.models import OutboxMessage
from tests.servers.databases import Database

Log = pytest.LogCaptureFixture


def hello(subject: str = "Hello") -> Message:
    return Message(subject, recipients=["ann@example.org"], body="b")


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def app(outbox: Outbox, caplog: Log) -> Iterator[Flask]:
    """An application whose sessions are the tests' own; within its context."""
    caplog.set_level(logging.INFO, "outbox")
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_UNCOMMITTED="warn")
    outbox.init_app(app, session=lambda: None)
    with app.app_context():
        yield app


def subjects(engine: sa.Engine) -> list[str]:
    """Of the mail that is committed."""
    with Session(engine) as session:
        return list(session.scalars(sa.select(OutboxMessage.subject).order_by(OutboxMessage.id)))


def said(caplog: Log, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def test_savepoint_after_a_read(database: Database, app: Flask, outbox: Outbox) -> None:
    """README's first example with SQLAlchemy's defaults: a view reads, sends within a savepoint, and fails."""
    engine = sa.create_engine(database.address)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))
    with Session(engine) as session:
        session.execute(sa.text("SELECT text FROM note")).all()
        with session.begin_nested():
            session.execute(sa.text("INSERT INTO note VALUES ('draft')"))
            outbox.enqueue(hello(), session)
        assert subjects(database.engine) == []
        session.rollback()
        with session.begin_nested():
            outbox.enqueue(hello("kept"), session)
            with session.begin_nested():
                outbox.enqueue(hello("inner"), session)
        session.commit()
        assert session.scalar(sa.text("SELECT count(*) FROM note")) == 0
    engine.dispose()
    assert subjects(database.engine) == ["kept", "inner"]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("level", [None, "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
def test_savepoint_and_the_drivers_way_to_begin(
    level: str | None, database: Database, app: Flask, outbox: Outbox, caplog: Log
) -> None:
    """However Python's driver begins transactions, or does not: a savepoint can be rolled back with its transaction."""
    engine = sa.create_engine(database.address, connect_args={"isolation_level": level})
    with Session(engine) as session:
        with session.begin_nested():
            outbox.enqueue(hello(), session)
        session.rollback()
        with session.begin_nested():
            outbox.enqueue(hello("kept"), session)
        session.commit()
    engine.dispose()
    assert subjects(database.engine) == ["kept"]
    assert said(caplog, "AUTOCOMMIT") == []


@pytest.mark.databases("sqlite")
def test_savepoints_of_a_test_around_a_session(database: Database, app: Flask, outbox: Outbox) -> None:
    """SQLAlchemy's recipe for tests begins with a savepoint, and the driver with nothing."""
    engine = sa.create_engine(database.address)
    with engine.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            outbox.enqueue(hello(), session)
            session.commit()
        assert subjects(database.engine) == []
        outer.rollback()
    engine.dispose()
    assert subjects(database.engine) == []


@pytest.mark.databases("sqlite")
def test_the_applications_own_begin_comes_first(database: Database, app: Flask, outbox: Outbox) -> None:
    """A listener that begins transactions in its own way, before a savepoint, goes on to do so."""
    begun: list[str] = []
    engine = sa.create_engine(database.address)

    @sa.event.listens_for(engine, "savepoint")
    def immediate(connection: sa.Connection, name: str) -> None:
        if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            begun.append(name)

    with Session(engine) as session, session.begin_nested():
        outbox.enqueue(hello(), session)
    engine.dispose()
    assert len(begun) == 1
    assert subjects(database.engine) == []


def test_id_that_was_rolled_back(database: Database, app: Flask, outbox: Outbox) -> None:
    """SQLite gives the id of a message that was rolled back to the next, while somebody still holds the first."""
    with Session(database.engine) as session:
        for key in ("first", None):
            savepoint = session.begin_nested()
            first = outbox.enqueue(hello("first"), session, key=key)
            savepoint.rollback()
            message = hello("second")
            second = outbox.enqueue(message, session, key=key and "second")
            assert second is not first
            assert (second.message_id, second.key, second.subject) == (message.msgId, key and "second", "second")
        session.commit()
        (one, other) = session.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id))
        assert (one.key, one.subject, other.subject) == ("second", "second", "second")


@pytest.mark.databases("sqlite")
def test_id_that_was_rolled_back_and_came_by_its_key(database: Database, app: Flask, outbox: Outbox) -> None:
    """The same where another transaction wrote the row meanwhile, and this one finds it by its key."""
    with Session(database.engine) as session:
        savepoint = session.begin_nested()
        first = outbox.enqueue(hello("first"), session, key="first")
        savepoint.rollback()
        session.rollback()
        with Session(database.engine) as other:
            outbox.enqueue(message := hello("second"), other, key="second")
            other.commit()
        found = outbox.enqueue(hello(), session, key="second")
        assert (found.message_id, found.key, found.subject) == (message.msgId, "second", "second")
        assert first is not None  # held on to until here


def test_autocommit_is_queued_at_once(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """Mail that no rollback takes back is not said to be rolled back, or forgotten."""
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
    if database.name == "sqlite":
        options = {"connect_args": {"isolation_level": None}}
    engine = sa.create_engine(database.address, **options)
    queued: list[str] = []

    def receive(sender: Flask, *, message_id: str, **more: Any) -> None:
        queued.append(message_id)

    with message_queued.connected_to(receive, app), Session(engine) as session:
        outbox.enqueue(hello(), session)
        outbox.enqueue_many([hello()], session)
        session.rollback()
        assert len(queued) == 2
    engine.dispose()
    assert len(subjects(database.engine)) == 2
    assert said(caplog, "rolled back, and with") == said(caplog, "uncommitted mail") == []
    assert len(said(caplog, "AUTOCOMMIT")) == 1


def test_autocommit_for_one_transaction(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """As an option of a session that is otherwise in order."""
    with Session(database.engine) as session:
        outbox.enqueue(hello("gone"), session)
        session.rollback()
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        outbox.enqueue(hello("kept"), session)
        session.rollback()
    assert subjects(database.engine) == ["kept"]
    assert len(said(caplog, "rolled back, and with")) == 1
    assert len(said(caplog, "AUTOCOMMIT")) == 1


def test_autoflush_off(database: Database, app: Flask, outbox: Outbox) -> None:
    """`enqueue` flushes nothing of the application's, and asks for nothing to be flushed."""
    with Session(database.engine, autoflush=False) as session:
        draft = OutboxMessage(message_id="<draft@example.org>")
        session.add(draft)
        queued = outbox.enqueue(hello(), session)
        assert draft in session.new
        session.expunge(draft)
        session.commit()
        assert queued.subject == "Hello"
    assert subjects(database.engine) == ["Hello"]
