"""Promise 1 with each kind of session and engine: what the transaction takes back is not sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from outbox import ConfigurationError, Message, Outbox, message_queued
from outbox.core.errors import DatabaseError
from outbox.models import OutboxMessage
from outbox.operations.server_settings import session_settings
from tests.servers.databases import Database, Databases
from tests.servers.proxy import CommitCutter

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
@pytest.mark.parametrize("autocommit", ["engine", "connection", "no"])
def test_savepoints_that_are_no_sessions_are_left_alone(autocommit: str, database: Database, app: Flask) -> None:
    """Savepoints on the application's own connections begin no transaction: what is released there is committed."""
    engine = sa.create_engine(database.address, **({"isolation_level": "AUTOCOMMIT"} if autocommit == "engine" else {}))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))
    with engine.connect() as connection:
        if autocommit == "connection":
            connection.execution_options(isolation_level="AUTOCOMMIT")
        with connection.begin_nested():
            connection.execute(sa.text("INSERT INTO note VALUES ('kept')"))
    with Session(engine) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM note")) == 1
    engine.dispose()


@pytest.mark.databases("sqlite")
def test_savepoint_of_a_session_in_autocommit_is_left_alone(database: Database, app: Flask) -> None:
    """Whoever wants AUTOCOMMIT in a session has it in a savepoint as well."""
    engine = sa.create_engine(database.address, isolation_level="AUTOCOMMIT")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))
    with Session(engine) as session, session.begin_nested():
        session.execute(sa.text("INSERT INTO note VALUES ('kept')"))
    with Session(engine) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM note")) == 1
    engine.dispose()


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
        found = outbox.enqueue(hello("second"), session, key="second")
        assert (found.message_id, found.key, found.subject) == (message.msgId, "second", "second")
        assert first is not None  # held on to until here


@pytest.mark.databases("sqlite")
def test_id_that_was_rolled_back_and_given_to_one_of_many(database: Database, app: Flask, outbox: Outbox) -> None:
    """The same in one transaction: `enqueue_many` makes no objects, so the first is still what has the id."""
    with Session(database.engine) as session:
        savepoint = session.begin_nested()
        first = outbox.enqueue(hello("first"), session, key="first")
        savepoint.rollback()
        (queued,) = outbox.enqueue_many([(hello("second"), {"key": "second"})], session)
        assert queued.id == first.id
        found = outbox.enqueue(hello("second"), session, key="second")
        assert (found.message_id, found.key, found.subject) == (queued.message_id, "second", "second")


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
    assert said(caplog, "rolled back, together with") == said(caplog, "uncommitted mail") == []
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
    assert len(said(caplog, "rolled back, together with")) == 1
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


@pytest.mark.databases("postgresql", "mariadb")
def test_commit_whose_answer_is_lost(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """The mail may be committed: nobody says that it was rolled back."""
    with CommitCutter((str(database.address.host), int(database.address.port or 0))) as proxy:
        engine = sa.create_engine(database.address.set(port=proxy.port))
        with engine.connect():
            pass  # the pool's first connection asks the server for its version, in a transaction of its own
        with Session(engine) as session:
            outbox.enqueue(hello(), session)
            proxy.arm()
            with pytest.raises(sa.exc.OperationalError):
                session.commit()
            session.rollback()
        engine.dispose()
    assert said(caplog, "rolled back, together with") == []
    (line,) = said(caplog, "the commit failed")
    assert "@example.org>" in line


@pytest.mark.databases("postgresql", "mariadb")
def test_flush_that_fails_in_a_commit(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """There the database was asked to commit nothing, and the mail was rolled back for certain."""
    with Session(database.engine) as session:
        outbox.enqueue(hello(), session)
        session.add(OutboxMessage(message_id="<draft@example.org>"))
        with pytest.raises(sa.exc.DBAPIError):
            session.commit()
    assert len(said(caplog, "rolled back, together with")) == 1
    assert said(caplog, "the commit failed") == []


@pytest.mark.databases("mariadb")
def test_statement_that_commits(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """MariaDB and MySQL commit before DDL: that mail is not said to be rolled back."""
    with Session(database.engine) as session:
        outbox.enqueue(hello("gone"), session)
        session.execute(sa.text("CREATE TEMPORARY TABLE draft (text VARCHAR(10))"))
        session.rollback()
        outbox.enqueue(hello("kept"), session)
        session.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))
        session.rollback()
    assert subjects(database.engine) == ["kept"]
    assert len(said(caplog, "rolled back, together with")) == 1
    (line,) = said(caplog, "commits what is before it")
    assert line.startswith("CREATE")


def read_only(database: Database) -> Iterator[sa.Engine]:
    """Engines whose transactions can't write, each in another way."""
    options: list[dict[str, Any]]
    url = database.address
    if database.name == "postgresql":
        options = [
            {"execution_options": {"postgresql_readonly": True, "isolation_level": "READ COMMITTED"}},
            {"connect_args": {"options": "-c default_transaction_read_only=on"}},
        ]
    elif database.name == "mariadb":
        options = [{"connect_args": {"init_command": "SET SESSION TRANSACTION READ ONLY"}}]
    else:
        options = [{}]
        url = sa.make_url(f"sqlite:///file:{database.address.database}?mode=ro&uri=true")
    for one in options:
        engine = sa.create_engine(url, **one)
        yield engine
        engine.dispose()
    if database.name == "sqlite":
        engine = sa.create_engine(database.address)
        sa.event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA query_only = ON"))
        yield engine
        engine.dispose()


def test_read_only_transaction(database: Database, app: Flask, outbox: Outbox) -> None:
    """`send` says so, and what to do; `outbox-check`, too."""
    for engine in read_only(database):
        with Session(engine) as session:
            for send in (outbox.enqueue, lambda message, session: outbox.enqueue_many([message], session)):
                with pytest.raises(DatabaseError, match=r"is read-only\. Enqueue in a session"):
                    send(hello(), session)
                session.rollback()
        (finding,) = [one for one in session_settings(engine) if one.ok is False]
        assert "can't write" in finding.words
    assert [one for one in session_settings(database.engine) if one.ok is False] == []


@pytest.mark.databases("mariadb")
def test_two_phase_commit(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """Mail goes with it, or not at all. (PostgreSQL: `test_two_phase.py`.)"""
    with Session(database.engine, twophase=True) as session:
        outbox.enqueue(hello("gone"), session)
        session.rollback()
        outbox.enqueue(hello("kept"), session)
        session.prepare()
        session.commit()
    assert subjects(database.engine) == ["kept"]
    assert len(said(caplog, "status=queued")) == 1


def test_several_databases(database: Database, databases: Databases, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """A row in another database is committed by itself: told once, where a session does both."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "note"
        text: Mapped[str] = mapped_column(sa.String(10), primary_key=True)

    with databases.empty("sqlite") as other:
        Base.metadata.create_all(other.engine)
        with Session(binds={OutboxMessage: database.engine, Note: other.engine}) as session:
            outbox.enqueue(hello("alone"), session)
            session.scalars(sa.select(Note)).all()
            session.commit()
            session.add(Note(text="alone"))
            session.commit()
            assert said(caplog, "one after the other") == []
            for number in range(2):
                outbox.enqueue(hello(str(number)), session)
                session.add(Note(text=str(number)))
                session.commit()
            (line,) = said(caplog, "one after the other")
            assert "sqlite" in line
            outbox.enqueue(hello("gone"), session)
            session.add(Note(text="gone"))
            session.rollback()
            assert session.scalar(sa.select(sa.func.count()).select_from(Note)) == 3
    assert subjects(database.engine) == ["alone", "0", "1"]


@pytest.mark.databases("postgresql")
def test_async_session(database: Database, app: Flask, outbox: Outbox, caplog: Log) -> None:
    """By `run_sync`: what it commits is queued, what it rolls back is gone."""
    url = database.address.set(drivername="postgresql+psycopg")

    async def work() -> None:
        engine = create_async_engine(url)
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda sync: outbox.enqueue(hello("kept"), sync))
            await session.commit()
            await session.run_sync(lambda sync: outbox.enqueue_many([hello("gone")], sync))
            await session.rollback()
            with pytest.raises(ConfigurationError, match="run_sync"):
                outbox.enqueue(hello(), session)
        await engine.dispose()

    asyncio.run(work())
    assert subjects(database.engine) == ["kept"]
    assert len(said(caplog, "status=queued")) == 1
    assert len(said(caplog, "rolled back, together with")) == 1


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("policy", ["auto", "commit", "warn"])
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_async_session_that_is_forgotten(
    policy: str, closed: bool, database: Database, outbox: Outbox, caplog: Log
) -> None:
    """At the end of the request nobody but its coroutine could commit it: it is told of, and breaks nothing."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_UNCOMMITTED=policy)
    outbox.init_app(app, session=lambda: None)
    engine = create_async_engine(database.address.set(drivername="postgresql+psycopg"))
    kept: list[AsyncSession] = []
    loop = asyncio.new_event_loop()
    app.async_to_sync = lambda view: lambda: loop.run_until_complete(view())  # type: ignore[method-assign]

    @app.get("/")
    async def view() -> str:
        kept.append(AsyncSession(engine))
        await kept[0].run_sync(lambda sync: outbox.enqueue(hello(), sync))
        if closed:
            await kept[0].close()
        return "done"

    assert app.test_client().get("/").status_code == 200
    assert subjects(database.engine) == []
    assert len(said(caplog, "uncommitted mail")) == 1
    loop.run_until_complete(kept[0].close())
    loop.run_until_complete(engine.dispose())
    loop.close()
