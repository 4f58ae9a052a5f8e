"""Fills a queue in seconds: one mail is enqueued by the application, then multiplied inside the database.

What stands in the rows is what `enqueue` writes; a copy differs in its Message-ID, recipient and due time. The columns
come from the models, so that a new one needs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from benchmarks import mails
from outbox.models import OutboxDelivery, OutboxMessage, OutboxMessageBlob, table_of
from outbox.store.enqueue import enqueue
from outbox.store.posting import Posting

_MESSAGE = table_of(OutboxMessage)
_DELIVERY = table_of(OutboxDelivery)
_PART = table_of(OutboxMessageBlob)
_DIGITS = 10
_AGE = 86_400  # seconds since the first is due; each is due a millisecond after the one before


def fill(engine: sa.Engine, count: int, *, attachments: list[bytes] | None = None) -> None:
    """`count` mails, due now. With `attachments` each has one of them, in turn."""
    firsts = [_enqueue(engine, blob) for blob in attachments or [None]]
    with engine.begin() as connection:
        for place, first in enumerate(firsts):
            copies = count // len(firsts) + (place < count % len(firsts)) - 1
            _multiply(connection, first, copies, offset=first + len(firsts) + place * (count // len(firsts) + 1))
        _set_sequence(connection)
    analyze(engine)


def analyze(engine: sa.Engine, *more: str) -> None:
    """Up-to-date statistics, and no autovacuum that starts in the middle of a measurement because of the filling."""
    tables = ("outbox_message", "outbox_delivery", "outbox_attempt", *more)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in tables:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"VACUUM ANALYZE {table}")
            else:
                word = "ANALYZE" if engine.dialect.name == "sqlite" else "ANALYZE TABLE"
                connection.exec_driver_sql(f"{word} {table}")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("CHECKPOINT")


def numbers(dialect: str, count: int) -> sa.FromClause:
    """A table of one column `n`, 1 to `count`, without writing one."""
    if dialect == "postgresql":
        return sa.func.generate_series(1, count).table_valued("n", name="numbers").render_derived()
    if dialect == "sqlite":
        n = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
        return n.union_all(sa.select(n.c.n + 1).where(n.c.n < count))
    seq = sa.column("seq", sa.Integer)
    return sa.select(seq.label("n")).select_from(sa.table(f"seq_1_to_{count}", seq)).subquery("numbers")


def _enqueue(engine: sa.Engine, attachment: bytes | None) -> int:
    composed = mails.composed(f"n{'0' * _DIGITS}", attachment)
    with sa.orm.Session(engine) as session, session.begin():
        message, _ = enqueue(session, composed, Posting(max_age=5 * 86_400.0))
        return message.id


def _multiply(connection: sa.Connection, first: int, copies: int, *, offset: int) -> None:
    if copies <= 0:
        return
    n = numbers(connection.dialect.name, copies)
    number = (n.c.n + offset).label("number")
    text = _TEXT[connection.dialect.name](number)
    message = connection.execute(sa.select(_MESSAGE).where(_MESSAGE.c.id == first)).one()
    at = message.skeleton.index(b"n" + b"0" * _DIGITS) + 1
    changed: dict[str, Any] = {
        "id": number,
        "message_id": sa.func.replace(_MESSAGE.c.message_id, "0" * _DIGITS, text),
        "skeleton": _PUT[connection.dialect.name](_MESSAGE.c.skeleton, at, text),
    }
    _copy(connection, _MESSAGE, n, changed, _MESSAGE.c.id == first)
    changed = {
        "message_id": number,
        "recipient": sa.literal("reader") + text + sa.literal("@example.org"),
        "due_at": _EARLIER[connection.dialect.name](_DELIVERY.c.due_at, n.c.n),
    }
    _copy(connection, _DELIVERY, n, changed, _DELIVERY.c.message_id == first, without="id")
    _copy(connection, _PART, n, {"message_id": number}, _PART.c.message_id == first)


def _copy(
    connection: sa.Connection,
    table: sa.Table,
    n: sa.FromClause,
    changed: dict[str, Any],
    which: sa.ColumnElement[bool],
    *,
    without: str = "",
) -> None:
    columns = [column for column in table.columns if column.name != without]
    rows = sa.select(*(changed.get(column.name, column) for column in columns)).select_from(table.join(n, which))
    connection.execute(table.insert().from_select([column.name for column in columns], rows, include_defaults=False))


def _set_sequence(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('outbox_message', 'id'), (SELECT max(id) FROM outbox_message))"
        )


def _spliced(content: Any, at: int, text: Any) -> Any:
    head, tail = sa.func.substr(content, 1, at), sa.func.substr(content, at + _DIGITS + 1)
    return head.op("||")(text).op("||")(tail)


_Text = Callable[[Any], sa.ColumnElement[str]]
_TEXT: dict[str, _Text] = {
    "postgresql": lambda n: sa.func.lpad(sa.cast(n, sa.Text), _DIGITS, "0"),
    "sqlite": lambda n: sa.func.printf(f"%0{_DIGITS}d", n),
    "mariadb": lambda n: sa.func.lpad(n, _DIGITS, "0"),
}
_PUT: dict[str, Callable[[Any, int, Any], sa.ColumnElement[bytes]]] = {
    "postgresql": lambda content, at, text: _spliced(content, at, sa.func.convert_to(text, "UTF8")),
    "sqlite": lambda content, at, text: sa.cast(_spliced(content, at, text), sa.LargeBinary),
    "mariadb": lambda content, at, text: sa.func.insert(content, at + 1, _DIGITS, text),
}
_EARLIER: dict[str, Callable[[Any, Any], sa.ColumnElement[Any]]] = {
    "postgresql": lambda due, n: due + sa.func.make_interval(0, 0, 0, 0, 0, 0, n * 0.001 - _AGE),
    "sqlite": lambda due, n: sa.func.strftime(
        "%Y-%m-%d %H:%M:%f", due, sa.func.printf("%+.3f seconds", n * 0.001 - _AGE)
    ).op("||")("000"),
    "mariadb": lambda due, n: sa.func.timestampadd(
        sa.text("MICROSECOND"), (sa.cast(n, sa.Integer) - _AGE * 1000) * 1000, due
    ),
}
