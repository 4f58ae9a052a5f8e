"""A row with a date that is none, edited by hand or restored badly, ends neither a list nor the queue."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.core.clock import UNREADABLE
from outbox.store.queue import Queue
from tests.db.mails import put
from tests.servers.databases import Database

NONE = {"sqlite": "long ago", "mariadb": "0000-00-00 00:00:00"}
DATES = (
    ("outbox_message", "created_at"),
    ("outbox_message", "expires_at"),
    ("outbox_delivery", "updated_at"),
    ("outbox_delivery", "due_at"),
)


@pytest.mark.databases("sqlite", "mariadb")
@pytest.mark.parametrize(("table", "column"), DATES)
def test_the_others_are_listed_and_sent(database: Database, table: str, column: str) -> None:
    """The row itself is listed, too, with what can be read of it."""
    engine = database.worker_engine
    first, second = put(engine, "a@example.org"), put(engine, "b@example.org")
    spoil(engine, table, column)
    with operations.connected(engine) as connection:
        rows = operations.find(connection, operations.Filter())
        detail = operations.show(connection, first[0])
        operations.status(connection, dead_after=20)
    assert {row.id for row in rows} == {*first, *second}
    assert detail is not None
    assert getattr(detail, column) == UNREADABLE
    assert second[0] in {one.id for one in Queue(engine, environment="", lease=60).claim(1, 1, 10)}


def spoil(engine: sa.Engine, table: str, column: str) -> None:
    with engine.begin() as connection:
        if engine.dialect.name != "sqlite":
            connection.execute(sa.text("SET SESSION sql_mode = ''"))
        name = "sqlite" if engine.dialect.name == "sqlite" else "mariadb"
        connection.execute(sa.text(f"UPDATE {table} SET {column} = '{NONE[name]}' WHERE id = 1"))
