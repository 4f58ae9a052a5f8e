"""Who read what a message says, the same on every database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.models import OutboxAudit
from outbox.operations import audit
from outbox.store.types import DbNow
from tests.db.mails import put


def look(engine: sa.Engine, id: int, what: str = "body", by: str = "ann") -> bool:
    with operations.transaction(engine) as connection:
        return operations.note_look(connection, id, what, by=by)


def test_a_look_is_noted_once_in_a_while(engine: sa.Engine) -> None:
    """Each person, message and part has a row; the same again only after an hour."""
    first, second = put(engine, "a@example.org", "b@example.org")
    assert look(engine, first)
    assert [look(engine, first) for _ in range(20)] == [False] * 20
    assert look(engine, second)
    assert look(engine, first, "attachment 1")
    assert look(engine, first, by="ben")
    assert look(engine, first, by="b" * 300)
    assert not look(engine, first, by="b" * 300)
    with engine.connect() as connection:
        rows = [(row.action, row.by, row.filters, row.delivery_ids) for row in audit.recent(connection)]
    assert rows == [
        ("read", "b" * 254 + "…", "body", (first,)),
        ("read", "ben", "body", (first,)),
        ("read", "ann", "attachment 1", (first,)),
        ("read", "ann", "body", (second,)),
        ("read", "ann", "body", (first,)),
    ]
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxAudit).values(at=DbNow(-3601.0)))
    assert look(engine, first)


def test_a_look_is_no_change(engine: sa.Engine) -> None:
    """What people changed can be listed without it; what was done to the delivery has it."""
    [id] = put(engine)
    with operations.transaction(engine) as connection:
        operations.cancel(connection, operations.Filter(ids=(id,)), by="ann")
    look(engine, id)
    with engine.connect() as connection:
        assert [row.action for row in audit.recent(connection)] == ["read", "cancel"]
        assert [row.action for row in audit.recent(connection, without=operations.READ)] == ["cancel"]
        assert [row.action for row in audit.of_delivery(connection, id)] == ["read", "cancel"]


@pytest.mark.parametrize("id", [2**63 - 1, 2**70])
def test_a_number_beyond_all(engine: sa.Engine, id: int) -> None:
    """A number that no database can hold is a number like another."""
    assert look(engine, id) in {True, False}
