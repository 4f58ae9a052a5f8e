"""What a database server is set to, as far as mail depends on it."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from outbox.operations.connect import connected
from outbox.operations.finding import Finding
from outbox.store.autocommit import READ_ONLY
from outbox.store.databases import is_read_only, of

_WRITABLE = READ_ONLY.partition(". ")[2]


def server_settings(engine: sa.Engine, max_message_bytes: int) -> Iterator[Finding]:
    """What workers find."""
    database = of(engine)
    if database.in_process:
        return
    with connected(engine) as connection:
        problems = list(database.server_problems(connection, max_message_bytes))
    yield from (Finding("database", *problem) for problem in problems)


def session_settings(session: sa.Engine) -> Iterator[Finding]:
    """What the application's own connections are set to, as far as mail depends on it."""
    with session.connect() as connection:
        if _is_read_only(connection):
            yield Finding("database", False, "the application's own connections can't write: `send` fails", _WRITABLE)
        yield from (Finding("database", *problem) for problem in of(session).session_problems(connection))


def _is_read_only(connection: sa.Connection) -> bool:
    told = of(connection).is_read_only(connection)
    if told is not None:
        return told
    try:
        connection.exec_driver_sql("DELETE FROM outbox_message WHERE 1 = 0")
    except sa.exc.OperationalError as error:
        return is_read_only(error)  # else there is no such table, or somebody else is writing
    connection.rollback()
    return False
