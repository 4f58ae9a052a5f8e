"""Transactions that only look: on SQLite they take no write lock, and wait for none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sqlalchemy.engine import Connection, Engine

_READS = "outbox_reads"  # the execution option of a connection that only looks


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to look with, not to write: it takes no lock, and waits for none."""
    with engine.connect() as connection:
        yield connection.execution_options(**{_READS: True})


@contextmanager
def only_reading(connection: Connection) -> Iterator[None]:
    """A transaction of that kind on a connection that is used for others as well."""
    connection.execution_options(**{_READS: True})
    try:
        with nullcontext() if connection.in_transaction() else connection.begin():  # behind a pooler there is one
            yield
    finally:
        connection.execution_options(**{_READS: False})


def only_reads(connection: Connection) -> bool:
    """Whether the transaction that begins on this connection is of that kind."""
    return bool(connection.get_execution_options().get(_READS))
