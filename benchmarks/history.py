"""Fills PostgreSQL with mail that was sent long ago: millions of rows in minutes, by dropping the indexes meanwhile."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from benchmarks import stock
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxMessage, table_of

_EACH = 1000  # deliveries of one message: a mailing
_MESSAGE, _DELIVERY, _ATTEMPT = table_of(OutboxMessage), table_of(OutboxDelivery), table_of(OutboxAttempt)


def fill(engine: sa.Engine, count: int) -> None:
    """`count` deliveries that were sent, one attempt each, spread over the last month; 1,000 of them a message."""
    stock.fill(engine, max(count // _EACH, 1))
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
        made_again = _without_indexes(connection, "outbox_delivery") + _without_indexes(connection, "outbox_attempt")
        _deliveries(connection, count)
        _attempts(connection)
        for statement in made_again:
            connection.exec_driver_sql(statement)
    stock.analyze(engine)


def _deliveries(connection: sa.Connection, count: int) -> None:
    """The deliveries that `stock.fill` made become the first of each message's."""
    when = _ago(_DELIVERY.c.id)
    done: dict[str, Any] = {
        "state": "sent",
        "due_at": None,
        "attempts": 1,
        "code": 250,
        "reply": "250 2.0.0 Ok: queued as 1",
        "updated_at": when,
        "finished_at": when,
    }
    connection.execute(_DELIVERY.update().values(done))
    n = stock.numbers("postgresql", count // _EACH * (_EACH - 1))
    first = sa.select(sa.func.min(_MESSAGE.c.id)).scalar_subquery()
    one = sa.select(_DELIVERY).order_by(_DELIVERY.c.id).limit(1).subquery()
    changed: dict[str, Any] = {
        "message_id": first + n.c.n % max(count // _EACH, 1),
        "recipient": sa.literal("old") + sa.cast(n.c.n, sa.Text) + sa.literal("@example.net"),
        "updated_at": _ago(n.c.n),
        "finished_at": _ago(n.c.n),
    }
    columns = [column.name for column in _DELIVERY.columns if column.name != "id"]
    rows = sa.select(*(changed.get(name, one.c[name]) for name in columns)).select_from(one.join(n, sa.true()))
    connection.execute(_DELIVERY.insert().from_select(columns, rows, include_defaults=False))


def _attempts(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
    values: dict[str, Any] = {
        "delivery_id": _DELIVERY.c.id,
        "at": _DELIVERY.c.finished_at,
        "phase": sa.literal("dot"),
        "verdict": sa.literal("accepted"),
        "code": sa.literal(250),
        "reply": sa.literal("250 2.0.0 Ok: queued as 1"),
        "relay_id": sa.literal("1"),
        "duration": sa.literal(0.001),
        "counted": sa.true(),
        "fenced": sa.false(),
    }
    rows = sa.select(*values.values()).where(_DELIVERY.c.state == "sent", *which)
    connection.execute(_ATTEMPT.insert().from_select(list(values), rows, include_defaults=False))


def _ago(number: Any) -> sa.ColumnElement[Any]:
    return sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, 86_400 + number % 2_000_000)


def _without_indexes(connection: sa.Connection, table: str) -> list[str]:
    """Drop the indexes and foreign keys of the table; the statements that make them again."""
    statements = []
    keys = connection.exec_driver_sql(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        f"WHERE conrelid = '{table}'::regclass AND contype = 'f'"
    ).all()
    for name, definition in keys:
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID")
    indexes = connection.exec_driver_sql(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '{table}' AND indexdef NOT LIKE '%%UNIQUE%%'"
    ).all()
    for name, definition in indexes:
        connection.exec_driver_sql(f"DROP INDEX {name}")
        statements.append(definition)
    return statements
