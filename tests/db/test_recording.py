"""Whether outcomes can be recorded is known before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.core.errors import DatabaseError, SchemaError
from outbox.operations.recording import recording
from outbox.store.record import OutcomeStore
from tests.servers.databases import Database


def test_a_database_as_it_should_be(engine: sa.Engine) -> None:
    """Nothing is written by the look."""
    operations.check_recording(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM outbox_attempt").scalar() == 0


@pytest.mark.parametrize("table", ["outbox_attempt", "outbox_delivery"])
def test_a_column_that_is_not_there(engine: sa.Engine, table: str) -> None:
    """As after a migration by a newer release."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME COLUMN enhanced TO enhanced_code")
    with pytest.raises((DatabaseError, SchemaError), match="enhanced"):
        operations.check_recording(engine)


@pytest.mark.databases("postgresql")
def test_a_right_that_is_lacking(engine: sa.Engine, database: Database) -> None:
    """The worker's user may change deliveries, and not insert attempts."""
    user = f"u_{database.address.database}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN PASSWORD 'p'")
        connection.exec_driver_sql(f"GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}")
    theirs = sa.create_engine(database.address.set(username=user, password="p"))
    try:
        with pytest.raises(DatabaseError, match=r"none is sent.*outbox_attempt"):
            operations.check_recording(theirs)
        (finding,) = recording(theirs)
        assert finding.ok is False
    finally:
        theirs.dispose()
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {user}")
            connection.exec_driver_sql(f"DROP ROLE {user}")


@pytest.mark.databases("sqlite")
def test_a_driver_that_takes_statements_otherwise(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by its name, with those that work."""

    def refuse(self: OutcomeStore) -> Any:
        raise KeyError("rows")

    monkeypatch.setattr(OutcomeStore, "check", refuse)
    with pytest.raises(DatabaseError, match=r"the driver sqlite\+pysqlite of .*psycopg2"):
        operations.check_recording(engine)


@pytest.mark.databases("sqlite")
def test_an_asynchronous_driver(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox has no event loop."""
    monkeypatch.setattr(engine.dialect, "is_async", True)
    with pytest.raises(DatabaseError, match=r"asynchronous driver.*OUTBOX_DATABASE_URL"):
        operations.check_recording(engine)
