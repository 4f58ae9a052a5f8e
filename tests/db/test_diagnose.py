"""What `outbox-check` says of a database: each probe against a real one that has the fault."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from outbox.operations import Finding, diagnose
from outbox.operations.application_engine import autocommits
from outbox.store.engines import worker_engine
from tests.servers.databases import Database, Databases
from tests.servers.pgbouncer import PgBouncer
from tests.servers.process import ServerUnavailable

MIB = 2**20


def found(engine: sa.Engine, session: sa.Engine | None = None, **options: Any) -> list[Finding]:
    return list(diagnose(engine, session=session, **({"max_message_bytes": MIB, "wake": True} | options)))


def words(findings: list[Finding], ok: bool | None = False) -> str:
    return "\n".join(f"{one.words} {one.remedy}" for one in findings if one.ok is ok)


@pytest.fixture
def postgresql(databases: Databases) -> Iterator[Database]:
    with databases.with_schema("postgresql") as database:
        yield database


@pytest.fixture
def mariadb(databases: Databases) -> Iterator[Database]:
    with databases.with_schema("mariadb") as database:
        yield database


@pytest.fixture
def made() -> Iterator[Callable[..., sa.Engine]]:
    """Makes engines, and closes what they hold open when the test ends."""
    engines: list[sa.Engine] = []

    def make(url: sa.URL | str, worker: bool = False, **options: Any) -> sa.Engine:
        engines.append(worker_engine(url) if worker else sa.create_engine(url, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def test_a_sound_database_has_no_fault(database: Database) -> None:
    """Reached, migrated, one and the same for the session and the workers."""
    findings = found(database.worker_engine, database.engine)
    assert words(findings) == ""
    assert [one.check for one in findings if one.ok] == ["database", "migrations"]


def test_tables_that_are_missing_are_a_fault(empty_database: Database) -> None:
    """With what to do about it."""
    with empty_database.engine.connect():  # SQLite makes the file
        pass
    assert "alembic upgrade head" in words(found(empty_database.worker_engine))


def test_a_session_on_another_database_is_a_fault(databases: Databases, database: Database) -> None:
    """Mail would be committed where no worker looks."""
    with databases.with_schema(database.name) as other:
        said = words(found(database.worker_engine, other.engine))
    assert "session writes to" in said
    assert "OUTBOX_DATABASE_URL" in said


def test_the_same_database_by_another_address_is_none_other(database: Database, made: Callable[..., sa.Engine]) -> None:
    """By another form of the host, or of the path."""
    if database.path is not None:
        address = database.address.set(
            database=f"{database.path.parent}/../{database.path.parent.name}/{database.path.name}"
        )
    else:
        address = database.address.set(host="127.1")
    assert words(found(database.worker_engine, made(address))) == ""


def test_an_application_behind_a_pooler_and_workers_that_are_not(
    postgresql: Database, made: Callable[..., sa.Engine]
) -> None:
    """As recommended, for workers to be woken."""
    try:
        with PgBouncer(postgresql.address, "transaction") as pooler:
            session = made(pooler.address)
            findings = found(postgresql.worker_engine, session)
            session.dispose()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    assert words(findings) == ""


@pytest.mark.parametrize(
    ("session", "worker"),
    [
        ("postgresql+psycopg://a:b@localhost/shop", "postgresql+psycopg2://c:d@127.0.0.1:5432/shop"),
        ("mariadb+pymysql://a:b@db.example/shop", "mysql+pymysql://a:b@DB.example.:3306/shop?charset=utf8mb4"),
    ],
)
def test_the_same_database_may_be_written_in_many_ways(session: str, worker: str) -> None:
    """Driver, user, options and the usual port make no other database."""
    from outbox.operations.application_engine import place

    assert place(sa.make_url(session)) == place(sa.make_url(worker))
    assert place(sa.make_url(session)) != place(sa.make_url(worker).set(database="other"))


def test_an_engine_in_autocommit_is_a_fault(database: Database, made: Callable[..., sa.Engine]) -> None:
    """What is rolled back would be sent."""
    options: dict[str, Any] = (
        {"connect_args": {"isolation_level": None}} if database.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    )
    assert "AUTOCOMMIT" in words(found(database.worker_engine, made(database.address, **options)))
    assert "AUTOCOMMIT" in words(
        found(database.worker_engine, database.engine.execution_options(isolation_level="AUTOCOMMIT"))
    )


def test_an_engine_of_sqlite_that_begins_by_a_listener_is_sound(
    sqlite_database: Database, made: Callable[..., sa.Engine]
) -> None:
    """As SQLAlchemy's documentation recommends for SAVEPOINT."""
    engine = made(sqlite_database.address, connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    assert not autocommits(engine)


def test_a_server_that_says_nothing_is_told_in_time(made: Callable[..., sa.Engine]) -> None:
    """It accepts the connection, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = made(f"postgresql+psycopg://me:secret@127.0.0.1:{silent.getsockname()[1]}/x", worker=True)
        began = time.monotonic()
        said = words(found(engine, seconds=1.0))
    assert time.monotonic() - began < 20
    assert "no answer within 1 s" in said
    assert "secret" not in said


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_is_noticed(mode: str, postgresql: Database, made: Callable[..., sa.Engine]) -> None:
    """And in which mode it is."""
    try:
        with PgBouncer(postgresql.address, mode) as pooler:
            findings = found(made(pooler.address, worker=True))
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    assert words(findings) == ""
    assert f"a pooler in {mode} mode" in words(findings, None)
    assert "pooler" not in words(found(postgresql.worker_engine), None)


def test_where_workers_listen(postgresql: Database, made: Callable[..., sa.Engine], databases: Databases) -> None:
    """OUTBOX_LISTEN_URL: told whether it does what it is there for, and without it what there is instead."""
    try:
        with PgBouncer(postgresql.address, "transaction", default_pool_size="10") as pooler:
            through = made(pooler.address, worker=True)
            said = found(through, listen=postgresql.worker_engine)
            assert "new mail wakes workers at once: they LISTEN at" in words(said, True)
            assert "by polling" not in words(said, None)
            assert "set OUTBOX_LISTEN_URL" in " ".join(finding.remedy for finding in found(through))
            assert "leads to a pooler as well" in words(found(through, listen=through), False)
            with databases.with_schema("postgresql") as other:
                said = found(through, listen=other.worker_engine)
                assert "OUTBOX_LISTEN_URL leads to another database" in words(said, False)
                other.dispose()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))


def test_a_replica(postgresql: Database, sqlite_database: Database, databases: Databases) -> None:
    """OUTBOX_READ_URL: another kind of database, or one without the tables, is a fault."""
    engine = postgresql.worker_engine
    assert "pages and commands read by" in words(found(engine, read=engine), True)
    assert "another kind of database" in words(found(engine, read=sqlite_database.worker_engine), False)
    with databases.empty("postgresql") as empty:
        assert "lacks" in words(found(engine, read=empty.worker_engine), False)
        empty.dispose()


@pytest.fixture
def limited(postgresql: Database) -> Iterator[sa.URL]:
    """A user of PostgreSQL who may open three connections."""
    with postgresql.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE ROLE narrow LOGIN PASSWORD 'pw' CONNECTION LIMIT 3")
        connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO narrow")
        yield postgresql.address.set(username="narrow", password="pw")
        connection.exec_driver_sql("DROP OWNED BY narrow")
        connection.exec_driver_sql("DROP ROLE narrow")


def test_too_few_connections_for_a_worker_are_a_fault(limited: sa.URL, made: Callable[..., sa.Engine]) -> None:
    """The user's own limit on PostgreSQL."""
    engine = made(limited, worker=True)
    said = words(found(engine))
    engine.dispose()
    assert "5 database connections" in said
    assert "CONNECTION LIMIT" in said


def test_a_user_who_may_not_record_is_a_fault(postgresql: Database, made: Callable[..., sa.Engine]) -> None:
    """A right that was revoked, or a driver that can't do it: nothing would be recorded, and all sent again."""
    with postgresql.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE ROLE reader LOGIN PASSWORD 'pw'")
        connection.exec_driver_sql("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO reader")
        engine = made(postgresql.address.set(username="reader", password="pw"), worker=True)
        said = words(found(engine))
        engine.dispose()
        connection.exec_driver_sql("DROP OWNED BY reader")
        connection.exec_driver_sql("DROP ROLE reader")
    assert "permission denied for table outbox_attempt" in said
    assert said.count("outbox_attempt") == 2  # once in the server's words, once in the remedy


@pytest.fixture
def narrow(mariadb: Database) -> Iterator[sa.Engine]:
    """An engine whose user may open four connections, one of which is taken."""
    engine = worker_engine(mariadb.address)
    with mariadb.engine.connect() as connection:
        connection.exec_driver_sql("ALTER USER CURRENT_USER() WITH MAX_USER_CONNECTIONS 4")
        yield engine
        engine.dispose()
        connection.exec_driver_sql("ALTER USER CURRENT_USER() WITH MAX_USER_CONNECTIONS 0")


def test_too_few_connections_on_mariadb(narrow: sa.Engine) -> None:
    """The user's own limit there."""
    said = words(found(narrow))
    assert "5 database connections" in said
    assert "max_user_connections" in said


def test_a_read_only_postgresql_is_a_fault(postgresql: Database, made: Callable[..., sa.Engine]) -> None:
    """A standby, for one."""
    address = postgresql.address.update_query_dict({"options": "-c default_transaction_read_only=on"})
    assert "read-only" in words(found(made(address, worker=True)))


def test_an_application_without_synchronous_commit_is_noticed(
    postgresql: Database, made: Callable[..., sa.Engine]
) -> None:
    """Its committed mail can be lost in a crash, whatever workers set for themselves."""
    session = made(postgresql.address.update_query_dict({"options": "-c synchronous_commit=off"}))
    assert "synchronous_commit is off" in words(found(postgresql.worker_engine, session), None)
    assert "synchronous_commit" not in words(found(postgresql.worker_engine, postgresql.engine), None)


def test_packets_smaller_than_the_largest_message_are_noticed(mariadb: Database) -> None:
    """MariaDB's default is 16 MiB, the outbox's largest message 25."""
    said = words(found(mariadb.worker_engine, max_message_bytes=25 * MIB), None)
    assert "max_allowed_packet is " in said
    assert "OUTBOX_MAX_MESSAGE_BYTES" in said
    assert "max_allowed_packet" not in words(found(mariadb.worker_engine, max_message_bytes=MIB), None)


def test_the_isolation_of_the_application_is_noticed(mariadb: Database, made: Callable[..., sa.Engine]) -> None:
    """At MariaDB's default, transactions that enqueue can block each other."""
    assert "REPEATABLE READ" in words(found(mariadb.worker_engine, mariadb.engine), None)
    calm = made(mariadb.address, isolation_level="READ COMMITTED")
    assert "REPEATABLE READ" not in words(found(mariadb.worker_engine, calm), None)


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path, made: Callable[..., sa.Engine]) -> None:
    """And is not made."""
    assert "there is no database" in words(found(made(f"sqlite:///{tmp_path / 'none.sqlite'}", worker=True)))
    assert not (tmp_path / "none.sqlite").exists()
