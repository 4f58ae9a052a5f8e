"""What may be a guard, and how it is kept."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outbox import MessageError
from outbox.store import guards

T = sa.table("t", sa.column("id"), sa.column("at"))


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        ("SELECT 1", "guard: is of type str"),
        (True, "guard: is of type bool"),
        (sa.text("1 = 1"), "guard: is of type TextClause"),
        (sa.exists().where(sa.text("1 = 1")), r"guard: holds a text\(\) of SQL"),
        (sa.delete(T), "guard: is of type Delete"),
        (sa.select(T.c.id).with_for_update(), "guard: locks rows"),
        (sa.select(sa.delete(T).returning(T.c.id).cte("gone").c.id), "guard: writes"),
    ],
    ids=["text", "bool", "text clause", "text within", "delete", "locks", "delete within"],
)
def test_only_one_condition_that_reads(guard: Any, words: str) -> None:
    """All else is refused before anything is written."""
    with pytest.raises(MessageError, match=words):
        guards.check(guard)


def test_values_come_back_as_they_were() -> None:
    """Through JSON, in the order and style of the driver."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    uuid = UUID(int=7)
    given = [1, 1.5, "x:y%", True, at, date(2026, 1, 2), Decimal("1.10"), uuid, None]
    condition = sa.and_(
        *(T.c.id == sa.bindparam(f"p{n}", one, type_=sa.types.NullType()) for n, one in enumerate(given))
    )
    guards.check(condition)
    for dialect in (postgresql.psycopg.dialect(), sqlite.dialect()):
        kept = json.loads(json.dumps(guards.stored(dialect, condition)))
        values = kept["values"].values() if isinstance(kept["values"], dict) else kept["values"]
        assert {repr(guards._value(one)) for one in values} >= {repr(one) for one in given}
        assert "x:y" not in kept["sql"]


def test_what_json_does_not_hold_and_what_is_too_long() -> None:
    """Is refused with the remedy."""
    with pytest.raises(MessageError, match="guard: holds a value of type bytes"):
        guards.stored(postgresql.psycopg.dialect(), T.c.id == sa.literal(b"x"))
    with pytest.raises(MessageError, match="guard: has more than 16,384 characters"):
        guards.stored(postgresql.psycopg.dialect(), T.c.id == "x" * 20_000)
