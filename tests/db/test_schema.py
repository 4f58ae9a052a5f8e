"""`outbox.schema`: from the tables before the first release, step by step, and what it finds lacking."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from outbox.core.errors import SchemaError
from outbox.models import Base
from outbox.operations import check_schema, unmigrated
from outbox.store import schema
from tests.db import prerelease
from tests.servers.databases import Database

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
KEYED = ("red", "welcome-7")


@contextlib.contextmanager
def operations(database: Database, **options: Any) -> Iterator[Operations]:
    with database.engine.begin() as connection:
        yield Operations(MigrationContext.configure(connection, opts=options))


def upgrade(database: Database, *arguments: int) -> None:
    with operations(database) as op:
        schema.upgrade(op, *arguments)


def execute(database: Database, statement: str, **values: Any) -> list[Any]:
    with database.engine.begin() as connection:
        done = connection.execute(sa.text(statement), values)
        return [tuple(row) for row in done] if done.returns_rows else []


def missing(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return schema.missing(connection)


def recorded(database: Database) -> list[Any]:
    return execute(database, "SELECT version, compatible FROM outbox_schema")


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All that the tables hold, by the columns they had before the first release."""
    with database.engine.connect() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection, only=lambda name, _: name in OLD_COLUMNS)
        return {
            table.name: [
                {name: value for name, value in row._mapping.items() if name in OLD_COLUMNS[table.name]}
                for row in connection.execute(table.select().order_by(*table.primary_key.columns))
            ]
            for table in metadata.sorted_tables
        }


OLD_COLUMNS: dict[str, set[str]] = {}


@pytest.fixture
def old_database(empty_database: Database) -> Database:
    """The tables before the first release, with two messages, an attachment, attempts, a worker, a pause, an audit."""
    with operations(empty_database) as op:
        prerelease.create(op)
    inspector = sa.inspect(empty_database.engine)
    for name in inspector.get_table_names():
        OLD_COLUMNS[name] = {column["name"] for column in inspector.get_columns(name)}
    tables = {
        name: sa.Table(
            name, sa.MetaData(), *(column._copy() for column in table.columns if column.name in OLD_COLUMNS[name])
        )
        for name, table in Base.metadata.tables.items()
        if name in OLD_COLUMNS
    }
    message = {
        "message_id": "<1@x>", "environment": "red", "key": "welcome-7", "kind": None, "lane": 1,
        "envelope_from": "a@x", "subject": "é", "headers": [["To", "b@x"]], "skeleton": b"\x00\xff", "size": 2,
        "smtputf8": False, "options": None, "on_uncertain": "hold", "metadata": {"a": 1}, "created_at": NOW,
    }  # fmt: skip
    delivery = {
        "recipient": "b@x", "domain": "x", "state": "sent", "lane": 2, "attempts": 1, "rescues": 0,
        "updated_at": NOW, "finished_at": NOW,
    }  # fmt: skip
    attempt = {
        "at": NOW, "phase": "dot", "verdict": "accepted", "reply": "250 ok", "duration": 0.1, "counted": True,
        "fenced": False,
    }  # fmt: skip
    written = {
        "outbox_message": [message | {"id": 3}, message | {"id": 7, "key": None, "message_id": "<2@x>"}],
        "outbox_blob": [{"digest": "d" * 64, "size": 1, "data": b"x", "created_at": NOW}],
        "outbox_message_blob": [{"message_id": 3, "position": 0, "skeleton_offset": 0, "digest": "d" * 64}],
        "outbox_delivery": [delivery | {"id": 5, "message_id": 3}, delivery | {"id": 9, "message_id": 7}],
        "outbox_attempt": [attempt | {"id": 1, "delivery_id": 5}, attempt | {"id": 2, "delivery_id": 9}],
        "outbox_worker": [
            {
                "id": 4, "host": "h", "pid": 1, "version": "0", "environment": "red", "connections": 4,
                "started_at": NOW, "heartbeat_at": NOW, "stopped_at": NOW + timedelta(1),
            }
        ],
        "outbox_pause": [{"id": 2, "what": "kind", "value": "news", "reason": "r", "actor": "me", "since": NOW}],
        "outbox_audit": [{"id": 6, "at": NOW, "action": "cancel", "actor": "me", "count": 1, "filters": "id 5"}],
    }  # fmt: skip
    with empty_database.engine.begin() as connection:
        for name, values in written.items():
            connection.execute(tables[name].insert(), values)
    return empty_database


def test_tables_of_before_the_first_release_are_altered(old_database: Database) -> None:
    """All rows stay as they were, and the tables are then what the models say."""
    before = rows(old_database)
    assert "outbox_worker.dead_after" in missing(old_database)
    assert "unique constraint uq_outbox_message_environment_key of outbox_message" in missing(old_database)
    upgrade(old_database, 1)
    assert rows(old_database) == before
    assert recorded(old_database) == [(1, None)]
    assert missing(old_database) == []
    with old_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_what_was_altered_keeps_its_promises(old_database: Database) -> None:
    """Keys are unique in their environment, what refers to a row goes with it, old inserts work, ids go on."""
    upgrade(old_database)
    copy = (
        "INSERT INTO outbox_message (message_id, environment, {key}, lane, envelope_from, subject, headers, skeleton, "
        "size, smtputf8, on_uncertain, created_at) SELECT message_id, :environment, :key, lane, envelope_from, "
        "subject, headers, skeleton, size, smtputf8, on_uncertain, created_at FROM outbox_message WHERE id = 3"
    ).format(key="`key`" if old_database.name == "mariadb" else '"key"')
    with pytest.raises(sa.exc.IntegrityError):
        execute(old_database, copy, environment="red", key="welcome-7")
    execute(old_database, copy, environment="blue", key="welcome-7")
    execute(
        old_database,
        "INSERT INTO outbox_delivery (message_id, recipient, domain, state, lane, due_at, attempts, rescues, "
        "updated_at) VALUES (3, 'c@x', 'x', 'queued', 2, :now, 0, 0, :now)".replace(":now", "'2026-11-26 12:00:00'"),
    )
    assert execute(old_database, "SELECT deferrals FROM outbox_delivery WHERE recipient = 'c@x'") == [(0,)]
    assert execute(old_database, "SELECT environment, transport, automatic FROM outbox_pause") == [("*", "", False)]
    execute(old_database, "UPDATE outbox_pause SET what = 'sender'")
    with pytest.raises(sa.exc.DBAPIError):
        execute(old_database, "UPDATE outbox_pause SET what = 'moon'")
    with old_database.engine.begin() as connection:
        if old_database.name == "sqlite":
            connection.connection.dbapi_connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[union-attr]
        connection.exec_driver_sql("DELETE FROM outbox_message WHERE id = 3")
    assert execute(old_database, "SELECT delivery_id FROM outbox_attempt") == [(9,)]
    assert execute(old_database, "SELECT message_id FROM outbox_message_blob") == []


@pytest.mark.databases("sqlite")
def test_foreign_keys_that_are_on_delete_nothing(old_database: Database) -> None:
    """Dropping a table deletes what refers to its rows there: the tables are rebuilt without losing any."""
    before = rows(old_database)
    with old_database.engine.connect() as connection:
        connection.connection.dbapi_connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[union-attr]
        with connection.begin():
            schema.upgrade(Operations(MigrationContext.configure(connection)))
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    assert rows(old_database) == before


@pytest.mark.databases("sqlite", "postgresql")
def test_altering_is_all_or_nothing(old_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on the way leaves the tables as they were."""
    before, lacking = rows(old_database), missing(old_database)
    monkeypatch.setattr(schema, "_write", lambda op, version: op.execute(sa.text("SELECT no_such_column")))
    with pytest.raises(sa.exc.DBAPIError):
        upgrade(old_database)
    assert rows(old_database) == before
    assert missing(old_database) == lacking


def test_altering_that_was_interrupted_goes_on(old_database: Database) -> None:
    """MariaDB commits each statement: what is done already is left as it is."""
    if old_database.name == "mariadb":
        execute(old_database, "ALTER TABLE outbox_worker ADD COLUMN dead_after FLOAT")
        execute(old_database, "ALTER TABLE outbox_pause DROP CONSTRAINT ck_outbox_pause_what")
    upgrade(old_database)
    upgrade(old_database)
    assert missing(old_database) == []


def test_made_by_the_models(database: Database) -> None:
    """`create_all` is a supported way: nothing is missing, and the next upgrade only records the version."""
    assert missing(database) == []
    assert recorded(database) == []
    upgrade(database, 1)
    assert recorded(database) == [(schema.LATEST, None)]


def test_an_empty_database(empty_database: Database) -> None:
    """Up without a number is up to the newest; down is nothing, twice is once."""
    upgrade(empty_database)
    upgrade(empty_database)
    assert missing(empty_database) == []
    assert recorded(empty_database) == [(schema.LATEST, None)]
    for _ in range(2):
        with operations(empty_database) as op:
            schema.downgrade(op, 0)
        assert sa.inspect(empty_database.engine).get_table_names() == []


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A release with one more version; what its steps did."""
    done: list[str] = []

    def up(op: Any) -> None:
        done.append("up")
        op.add_column("outbox_worker", sa.Column("mood", sa.String(8)))

    def down(op: Any) -> None:
        done.append("down")
        op.drop_column("outbox_worker", "mood")

    monkeypatch.setitem(schema.STEPS, 2, schema.Step(up, down, compatible=1))
    monkeypatch.setattr(schema, "LATEST", 2)
    return done


def test_all_steps_from_the_recorded_version(empty_database: Database, second_version: list[str]) -> None:
    """Whatever the database has, `upgrade` runs what is between, once; `downgrade` the way back."""
    upgrade(empty_database)
    assert recorded(empty_database) == [(2, 1)]
    upgrade(empty_database, 1)  # an older migration of the history
    upgrade(empty_database, 2)
    assert second_version == ["up"]
    with operations(empty_database) as op:
        schema.downgrade(op, 1)
    assert recorded(empty_database) == [(1, None)]
    assert missing(empty_database) == ["version 2 of the outbox's tables (it has version 1)"]
    with operations(empty_database) as op:
        schema.downgrade(op)
    assert second_version == ["up", "down"]
    assert sa.inspect(empty_database.engine).get_table_names() == []


def test_a_worker_refuses_tables_that_are_too_old(empty_database: Database, second_version: list[str]) -> None:
    """With both versions and what to do; nothing of it is used before."""
    upgrade(empty_database, 1)
    with pytest.raises(SchemaError, match="have version 1, too old for this release"):
        check_schema(empty_database.worker_engine)
    upgrade(empty_database, 2)
    check_schema(empty_database.worker_engine)


def test_an_unknown_number(sqlite_database: Database) -> None:
    """The error names those that there are."""
    with pytest.raises(ValueError, match=r"no version 7; there are \[0, 1\]"):
        upgrade(sqlite_database, 7)


@pytest.mark.parametrize(("compatible", "known"), [(None, False), (2, False), (1, True)])
def test_a_newer_release_was_here(empty_database: Database, compatible: int | None, known: bool) -> None:
    """A version that this release does not know is refused, unless that version says it works with this release."""
    upgrade(empty_database)
    execute(empty_database, "UPDATE outbox_schema SET version = 2, compatible = :c", c=compatible)
    if known:
        assert missing(empty_database) == []
    else:
        with pytest.raises(SchemaError, match=r"have version 2.*knows them up to version 1.*Upgrade the package"):
            missing(empty_database)


LOST = {
    "index ix_outbox_delivery_state of outbox_delivery": "DROP INDEX ix_outbox_delivery_state",
    "unique constraint uq_outbox_message_environment_key of outbox_message": (
        "ALTER TABLE outbox_message DROP CONSTRAINT uq_outbox_message_environment_key"
    ),
    "check constraint ck_outbox_delivery_leased of outbox_delivery": (
        "ALTER TABLE outbox_delivery DROP CONSTRAINT ck_outbox_delivery_leased"
    ),
}


@pytest.mark.parametrize("lost", LOST)
def test_what_was_lost_is_reported_and_repaired(empty_database: Database, lost: str) -> None:
    """An index or constraint that somebody dropped is missing; `repair` brings it back and keeps the rows."""
    upgrade(empty_database)
    name, _, table = lost.rpartition(" ")[0].rpartition(" ")[0].rpartition(" ")[2], None, lost.rpartition(" ")[2]
    if empty_database.name != "sqlite" or lost.startswith("index"):
        suffix = f" ON {table}" if empty_database.name == "mariadb" and lost.startswith("index") else ""
        execute(empty_database, LOST[lost] + suffix)
    else:
        assert empty_database.path is not None
        _forget(str(empty_database.path), table, name)
    assert missing(empty_database) == [lost]
    assert "outbox.schema.repair(op)" in unmigrated([lost])
    with operations(empty_database) as op:
        schema.repair(op)
    assert missing(empty_database) == []


def test_a_lost_autoincrement_is_reported(sqlite_database: Database) -> None:
    """SQLite without it gives the id of a deleted row again."""
    execute(sqlite_database, "CREATE TABLE other AS SELECT 1")
    sql = execute(sqlite_database, "SELECT sql FROM sqlite_master WHERE name = 'outbox_message'")[0][0]
    execute(sqlite_database, "DROP TABLE outbox_message")
    with sqlite_database.engine.begin() as connection:
        connection.exec_driver_sql(sql.replace(" AUTOINCREMENT", ""))
        connection.exec_driver_sql("CREATE INDEX ix_outbox_message_message_id ON outbox_message (message_id)")
    assert missing(sqlite_database) == ["AUTOINCREMENT of outbox_message"]


def _forget(path: str, table: str, constraint: str) -> None:
    """Take a constraint out of the text of SQLite's table."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        lines = [line for line in sql.split("\n") if f"CONSTRAINT {constraint} " not in line]
        text = "\n".join(lines).replace(", \n)", "\n)")
        connection.execute(f"ALTER TABLE {table} RENAME TO gone")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(text)
        for (index,) in connection.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'gone' AND type = 'index' AND sql IS NOT NULL"
        ).fetchall():
            connection.execute(f"DROP INDEX {index.split()[2]}")
            connection.execute(index.replace('"gone"', table).replace(" gone ", f" {table} "))
        connection.execute("DROP TABLE gone")
