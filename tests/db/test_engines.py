"""The engine of workers, commands and pages: it is the application's own in all but pool, isolation and time limits."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from outbox import Message, Outbox, operations
from outbox.core.errors import DatabaseError
from outbox.delivery.states import State
from outbox.models import Base, OutboxWorker
from outbox.store.databases.sqlite import configure_sqlite
from outbox.store.engines import engine_like
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from tests.servers.databases import Database


@pytest.mark.databases("postgresql")
def test_a_search_path_of_connect_args_is_the_workers_too(empty_database: Database) -> None:
    """The outbox is in a schema that only the application's `connect_args` name."""
    make_schema(empty_database, "mail")
    engine = sa.create_engine(empty_database.address, connect_args={"options": "-c search_path=mail"})
    Base.metadata.create_all(engine)
    assert went_through(engine) == states(empty_database, "mail.") == ["sent"]


def test_a_creator_is_the_workers_too(database: Database) -> None:
    """The application connects by a function of its own; the URL alone leads nowhere."""
    made = []

    def creator() -> Any:
        made.append(1)
        return database.engine.pool._creator()  # type: ignore[call-arg]

    wrong = database.address.set(host="host.invalid") if database.path is None else database.address
    engine = sa.create_engine(wrong, creator=creator, **sqlite_options(database))
    assert went_through(engine) == states(database) == ["sent"]
    assert len(made) > 1


@pytest.mark.databases("postgresql", "mariadb")
def test_a_password_that_a_listener_sets_is_the_workers_too(database: Database) -> None:
    """As with log-in tokens of a cloud provider: the URL has no password, a `do_connect` listener adds it."""
    engine = sa.create_engine(database.address._replace(password=None))

    @event.listens_for(engine, "do_connect")
    def with_token(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:
        options["password"] = database.address.password

    assert went_through(engine) == states(database) == ["sent"]


@pytest.mark.databases("postgresql", "mariadb")
def test_a_translated_schema_is_the_workers_too(empty_database: Database) -> None:
    """The application's engine has a `schema_translate_map`."""
    name = make_schema(empty_database, "mail")
    engine = sa.create_engine(empty_database.address, execution_options={"schema_translate_map": {None: name}})
    Base.metadata.create_all(engine)
    assert went_through(engine) == states(empty_database, f"{name}.") == ["sent"]


def test_listeners_of_the_application_hear_of_the_workers_connections(database: Database) -> None:
    """`connect`, `checkout` and statements, whether they were attached to the engine or to its pool."""
    heard = set()
    engine = sa.create_engine(database.address, **sqlite_options(database))
    for name in ("connect", "checkout"):
        event.listen(engine, name, lambda *_, name=name: heard.add(name))  # type: ignore[misc]
    event.listen(engine, "before_cursor_execute", lambda *_: heard.add("statement"))
    theirs = engine_like(engine)
    with theirs.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    theirs.dispose()
    engine.dispose()
    assert heard == {"connect", "checkout", "statement"}


@pytest.mark.parametrize("how", ["engine", "option"])
def test_an_application_in_autocommit_leaves_workers_their_transactions(database: Database, how: str) -> None:
    """What a worker rolls back was never there."""
    engine = sa.create_engine(database.address, **{"isolation_level": "AUTOCOMMIT"} if how == "engine" else {})
    if how == "option":
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    theirs = engine_like(engine)
    for _ in range(2):  # on the same connection of the pool, too
        with theirs.connect() as connection, connection.begin() as transaction:
            connection.execute(sa.text("DELETE FROM outbox_worker"))
            worker(connection)
            transaction.rollback()
    with theirs.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM outbox_worker")) == 0
    theirs.dispose()
    engine.dispose()


@pytest.mark.databases("sqlite")
def test_transactions_that_the_application_begins_by_hand_do_not_disturb(sqlite_database: Database) -> None:
    """SQLAlchemy's recipe for SQLite, a BEGIN in a listener, is the application's; ours is immediate all the same."""
    engine = sa.create_engine(sqlite_database.address)
    configure_sqlite(engine, immediate=False)
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    assert went_through(engine) == states(sqlite_database) == ["sent"]
    other = sa.create_engine(sqlite_database.address, connect_args={"timeout": 0}, poolclass=NullPool)
    ours = engine_like(engine)
    with ours.begin(), other.connect() as theirs, pytest.raises(sa.exc.OperationalError, match="locked"):
        worker(theirs)
    ours.dispose()
    engine.dispose()


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("name", ["postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_a_url_is_never_translated(database: Database, name: str) -> None:
    """`postgresql://` is what the installed SQLAlchemy takes it for: psycopg2 by 2.0, psycopg by 2.1."""
    engine = sa.create_engine(database.address.set(drivername=name))
    meant = "psycopg2" if sa.__version__.startswith("2.0.") else "psycopg"
    theirs = engine_like(engine)
    assert (theirs.url, theirs.driver) == (engine.url, name.partition("+")[2] or meant)
    theirs.dispose()
    assert went_through(engine) == states(database) == ["sent"]


@pytest.mark.databases("postgresql")
def test_a_certificate_check_is_not_dropped(database: Database) -> None:
    """`sslmode=verify-full` in connect_args, and a server that has no certificate: the workers refuse it, too."""
    engine = sa.create_engine(database.address, connect_args={"sslmode": "verify-full", "sslrootcert": "system"})
    theirs = engine_like(engine, timeout=5)
    with pytest.raises(DatabaseError, match="SSL"), operations.connected(theirs) as connection:
        connection.execute(sa.text("SELECT 1"))


@pytest.mark.databases("postgresql")
def test_options_of_the_driver_and_the_pool_stay(database: Database) -> None:
    """`prepare_threshold`, and a pool that keeps no connection."""
    engine = sa.create_engine(database.address, connect_args={"prepare_threshold": None}, poolclass=NullPool)
    theirs = engine_like(engine)
    with theirs.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        assert driver.prepare_threshold is None
    theirs.dispose()


def went_through(engine: sa.Engine) -> list[str]:
    """Enqueue by a session on `engine`; claim, record and look by the workers' engine; the states that it sees."""
    app = Flask("shop")
    outbox = Outbox()
    with app.app_context(), Session(engine) as session:
        outbox.init_app(app, session=lambda: session)
        outbox.send(Message("Hello", recipients=["a@example.org"], sender="shop@example.org", body="x"))
        session.commit()
        theirs = outbox.database(app)
    assert theirs is not engine
    queue, outcome_store = Queue(theirs, environment="", lease=60, wake=True), OutcomeStore(theirs)
    with queue.connected(), outcome_store.connected():
        worker_id = queue.register(host="h", pid=1, version="1", connections=1)
        (claimed,) = queue.claim(worker_id, 7, 10)
        outcome = Outcome(claimed, State.SENT, None, True, False, None, None, None)
        assert outcome_store.record(worker_id, [outcome]) == set()
        assert outcome_store.record(worker_id, [outcome]) == {claimed.id}
    operations.check_schema(theirs)
    with operations.connected(theirs) as connection:
        found = [row.state.value for row in operations.find(connection, operations.Filter())]
    theirs.dispose()
    engine.dispose()
    return found


def states(database: Database, schema: str = "") -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.execute(sa.text(f"SELECT state FROM {schema}outbox_delivery")).scalars())


def worker(connection: sa.Connection) -> None:
    at = "2026-01-01 00:00:00"
    connection.execute(
        sa.text(
            "INSERT INTO outbox_worker (host, pid, version, environment, connections, started_at, heartbeat_at) "
            f"VALUES ('h', 1, '1', '', 1, '{at}', '{at}')"
        )
    )


def make_schema(database: Database, name: str) -> str:
    """Its name; on MariaDB a schema is a database."""
    name = name if database.name == "postgresql" else f"{database.address.database}_{name}"
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    return name


def sqlite_options(database: Database) -> dict[str, Any]:
    return {} if database.path is None else {"poolclass": NullPool}


@pytest.mark.databases("postgresql", "mariadb")
def test_a_connection_that_takes_no_writes_is_given_up(database: Database) -> None:
    """As those to a primary that has become a replica and stays up; the application's own pool is left alone."""
    read_only = {"postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"}
    statement = read_only.get(database.name, "SET SESSION TRANSACTION READ ONLY")
    source = sa.create_engine(database.address)
    engine = engine_like(source, connections=1)
    queue = Queue(engine, environment="", lease=60.0)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
        connection.commit()
    with pytest.raises(sa.exc.DBAPIError) as raised:
        queue.register(host="here", pid=1, version="1", connections=1)
    assert raised.value.connection_invalidated
    assert queue.register(host="here", pid=1, version="1", connections=1)
    with source.connect() as connection:
        connection.exec_driver_sql(statement)
        connection.commit()
        with pytest.raises(sa.exc.DBAPIError) as raised:
            connection.execute(sa.insert(OutboxWorker).values(host="here"))
        assert not raised.value.connection_invalidated
    engine.dispose()
    source.dispose()
