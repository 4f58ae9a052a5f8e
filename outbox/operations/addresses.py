"""Whether the addresses beside the workers' own lead where they should: a pooler, where to listen, a replica."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from outbox.operations.application_engine import is_same_database
from outbox.operations.connect import check_schema, connected, where
from outbox.operations.finding import Finding
from outbox.store.databases import of
from outbox.store.listening import deaf


def pooler(engine: sa.Engine, wake: bool, *, listens: bool = False) -> Iterator[Finding]:
    """A pooler works, but it passes no LISTEN on; in transaction mode two clients run in one server process.

    `listens`: workers do so by an address of its own.
    """
    database = of(engine)
    if not database.has_poolers:
        return
    with connected(engine) as connection:
        direct = database.is_direct(connection)
    with connected(engine) as one, connected(engine) as other:
        mode = "transaction" if database.shares_process(one, other) else "session"
    if mode == "session" and direct:
        return
    polls = wake and not listens
    yield Finding(
        "database",
        True if wake and listens else None,
        f"a pooler in {mode} mode (PgBouncer, for example) is between workers and the database"
        + ("; they find new mail by polling, every OUTBOX_POLL_SECONDS" if polls else ""),
        "To wake workers at once, set OUTBOX_LISTEN_URL to the address of the database itself." if polls else "",
    )


def listening(engine: sa.Engine, listen: sa.Engine) -> Finding:
    """Whether commits at `engine` are heard of at `listen`."""
    if not of(listen).can_listen(listen):
        return Finding("database", False, f"OUTBOX_LISTEN_URL is {where(listen)}, where nobody can LISTEN", _PSYCOPG)
    with connected(listen) as connection:
        why = deaf(listen, connection)
    if why is not None:
        return Finding("database", False, why, "Set it to the address of the database itself.")
    if is_same_database(engine, listen) is False:
        words = f"OUTBOX_LISTEN_URL leads to another database than the workers': {where(listen)}"
        return Finding("database", False, words, "Set it to an address of the same database, or leave it out.")
    return Finding("database", True, f"new mail wakes workers at once: they LISTEN at {where(listen)}")


def replica(engine: sa.Engine, read: sa.Engine) -> Finding:
    """Whether pages and commands find there what they look for."""
    if of(engine) is not of(read):
        words = f"OUTBOX_READ_URL leads to another kind of database: {where(read)}"
        return Finding("database", False, words, "Set it to a replica of the workers' database, or leave it out.")
    check_schema(read)
    return Finding("database", True, f"pages and commands read by {where(read)}")


_PSYCOPG = "Give a URL that begins with postgresql+psycopg://, or leave it out: workers poll then."
