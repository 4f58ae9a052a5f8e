"""Statements rendered once do what SQLAlchemy's own execution does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.models import Base, OutboxMessage
from outbox.store.compiled import Rendered
from outbox.store.enqueue import Posting, enqueue
from outbox.store.messages import stored_from
from outbox.store.queue import Queue
from outbox.store.types import DbNow, UtcDateTime
from tests.db.test_queue import composed, put

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.databases("postgresql")
def test_it_says_the_same(engine: sa.Engine) -> None:
    """Parameters of all types, constants with a percent sign, and a value given by the statement."""
    given = {"number": 7, "text": "100 % 'ü'", "json": {"a": [1, None]}, "at": datetime(2030, 1, 2, tzinfo=UTC)}
    statement = sa.select(
        sa.bindparam("number", type_=sa.Integer()).label("number"),
        sa.bindparam("text", type_=sa.Text()).label("text"),
        sa.bindparam("json", type_=sa.JSON()).label("json"),
        sa.bindparam("at", type_=UtcDateTime()).label("at"),
        sa.literal_column("'5 %'").label("constant"),
        (sa.literal(40) + 2).label("sum"),
    )
    with engine.connect() as connection:
        rendered = Rendered(statement, engine.dialect).execute(connection, given).one()
        usual = connection.execute(statement, given).one()
    assert tuple(rendered) == tuple(usual) == (7, given["text"], given["json"], given["at"], "5 %", 42)


def test_values_that_shape_the_text_are_left_to_sqlalchemy(engine: sa.Engine) -> None:
    """IN with a list has as many parameters as that."""
    statement = sa.select(sa.literal(1).in_(sa.bindparam("some", expanding=True)).label("found"))
    rendered = Rendered(statement, engine.dialect)
    with engine.connect() as connection:
        found = [rendered.execute(connection, {"some": some}).scalar_one() for some in ([1, 2], [3], [4, 5, 1])]
    assert found == [True, False, True]


@pytest.mark.databases("postgresql")
def test_a_translated_schema_is_used(engine: sa.Engine) -> None:
    """An application with a schema for each tenant."""
    tenant = engine.execution_options(schema_translate_map={None: "tenant"})
    with tenant.begin() as connection:
        connection.execute(sa.schema.CreateSchema("tenant"))
        Base.metadata.create_all(connection)
    with Session(tenant) as session:
        enqueue(session, composed("one@example.org"), Posting())
        enqueue(session, composed("one@example.org", "two@example.org"), Posting())
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 2
    with Session(engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 0
    queue = Queue(tenant, environment="", lease=60)
    assert [one.recipient for one in queue.claim(1, 1, 10)] == ["one@example.org", "one@example.org", "two@example.org"]


def test_a_claim_has_times_in_utc(engine: sa.Engine) -> None:
    """Whatever time zone the database's session has."""
    put(engine, posting=Posting(max_age=600.0))
    (claimed,) = Queue(engine, environment="", lease=60).claim(1, 1, 10)
    assert claimed.due_at.tzinfo is UTC
    assert claimed.message.created_at.tzinfo is UTC
    assert claimed.message.expires_in == pytest.approx(600, abs=30)
    with engine.connect() as connection:
        now = connection.execute(sa.select(DbNow())).scalar_one()
    assert abs(now - claimed.due_at) < timedelta(seconds=30)


def test_an_expiry_across_the_end_of_summer_time() -> None:
    """02:55 and ten minutes is 02:05: between two times of one zone Python counts that as 50 minutes ago."""
    row = SimpleNamespace(
        pk=1,
        message_id="<1@example.org>",
        environment="",
        kind=None,
        envelope_from="a@example.org",
        size=1,
        smtputf8=False,
        utf8_header=None,
        options=None,
        on_uncertain="retry",
        created_at=datetime(2026, 10, 25, 2, 55, tzinfo=BERLIN),
        expires_at=datetime(2026, 10, 25, 2, 5, tzinfo=BERLIN, fold=1),
        now=datetime(2026, 10, 25, 2, 55, tzinfo=BERLIN),
        skeleton=b"",
        skeleton_size=0,
    )
    assert stored_from(row, (), "").expires_in == 600
