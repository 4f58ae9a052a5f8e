"""The questions that databases answer differently: each answers all that its other answers promise."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from outbox.store.databases import KNOWN, Database, of, of_url, table_options
from outbox.store.models import OutboxDelivery, table_of
from outbox.store.types import DbNow
from outbox.testing.frozen import stopped_at

MOMENT = datetime(2026, 11, 26, 23, 59, 1, 234567, tzinfo=UTC)
NAMES = [name for database in KNOWN for name in database.names]
PROMISED = {  # what a database answers that others need not
    "insert_unless_there": lambda database: True,
    "insert_arrays": lambda database: database.hands_over_arrays,
    "arrays": lambda database: database.hands_over_arrays,
    "pairs": lambda database: database.writes_in_queries,
    "rows_text": lambda database: not database.in_process,
    "listener": lambda database: database.tells_commits,
    "is_duplicate": lambda database: not database.returns_new_rows,
    "is_direct": lambda database: database.has_poolers,
    "shares_process": lambda database: database.has_poolers,
}


def dialect(name: str) -> Dialect:
    return sa.make_url(f"{name}://").get_dialect()()


@pytest.mark.parametrize("name", NAMES)
def test_a_database_is_found_by_its_names(name: str) -> None:
    """By its dialect and by an address."""
    assert of(dialect(name)) is of_url(sa.make_url(f"{name}://host/x"))
    assert name in of(dialect(name)).names
    assert NAMES.count(name) == 1


@pytest.mark.parametrize("question", PROMISED)
@pytest.mark.parametrize("database", KNOWN, ids=lambda database: database.names[0])
def test_what_is_promised_is_answered(database: Database, question: str) -> None:
    """A new database that says it can do a thing also does it."""
    answers = getattr(type(database), question) is not getattr(Database, question)
    assert answers or not PROMISED[question](database)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [None, 5.0])
def test_the_clock_can_be_stopped(name: str, seconds: float | None) -> None:
    """It is found in every form that `DbNow` has."""
    text = str(sa.select(DbNow(seconds)).compile(dialect=dialect(name)))
    frozen = stopped_at(MOMENT, text, dialect(name))
    assert "23:59:01.234" in frozen
    assert not any(clock in frozen for clock in ("statement_timestamp", "'now'", "UTC_TIMESTAMP"))


def test_a_database_that_is_not_known_keeps_no_mail() -> None:
    """What an application's session on one is asked has an answer; its clock is a function that nobody has."""
    oracle = sa.make_url("oracle://host/x")
    assert of_url(oracle).place(oracle) == ("oracle", "host", None, "x")
    assert not of_url(oracle).names
    other = sa.make_url("mssql://").get_dialect()
    assert "db_now(" in str(sa.select(DbNow()).compile(dialect=other()))


def test_options_of_tables_come_from_the_databases() -> None:
    """A table has those of all; what only one understands begins with its name."""
    assert {option.partition("_")[0] for option in table_options(ids_once=True)} <= set(NAMES)
    table = table_of(OutboxDelivery)
    assert table.dialect_options["sqlite"]["autoincrement"]
    assert table.dialect_options["mariadb"]["engine"] == "InnoDB"
    due = next(index for index in table.indexes if index.name == "ix_outbox_delivery_due")
    assert str(due.dialect_options["postgresql"]["where"]) == "due_at IS NOT NULL"
