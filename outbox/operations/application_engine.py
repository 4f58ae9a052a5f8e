"""Whether the application's own engine and that of the workers fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from outbox.operations.connect import where
from outbox.operations.finding import Finding
from outbox.store.autocommit import REMEDY
from outbox.store.databases import of, of_url
from outbox.store.transactions import ONE_DATABASE


def same_database(engine: sa.Engine, session: sa.Engine) -> Iterator[Finding]:
    """Mail is committed where workers look."""
    if place(engine.url) != place(session.url) and not is_same_database(engine, session):
        yield Finding("database", False, apart(engine.url, session.url), _ONE)


def another_database(engine: sa.Engine, session: sa.Engine | None) -> str | None:
    """What to say where it is certain that mail is committed where no worker looks; None where it is not.

    The addresses may differ and the database be the same, behind a pooler for one: then the servers are asked.
    """
    if session is None or place(engine.url) == place(session.url):
        return None
    same = of(engine).certainly(is_same_database(engine, session), engine.url, session.url)
    return f"{apart(engine.url, session.url)}. {_ONE}" if same is False else None


def apart(engine: sa.URL, session: sa.URL) -> str:
    """That the workers' database is another than the session's. Without passwords."""
    ours, theirs = (url.render_as_string(hide_password=True) for url in (session, engine))
    return (
        f"the application's session writes to {ours}, workers look in {theirs}: mail would be committed where no "
        "worker sends it"
    )


_AUTOCOMMIT = "the application's engine is in AUTOCOMMIT: mail of a transaction that rolls back is sent all the same"
_ONE = "Set OUTBOX_DATABASE_URL to the database of the session, or leave it out."


def is_same_database(engine: sa.Engine, session: sa.Engine) -> bool | None:
    """Whether both find the same database, though by other addresses: a pooler, a socket, another name of the host.

    None: one of them can't be asked.
    """
    statement = of(engine).identity
    if of(engine) is not of(session):
        return False
    if statement is None:
        return None
    seen = []
    for one in (engine, session):
        try:
            with one.connect() as connection:
                seen.append(tuple(connection.exec_driver_sql(statement).one()))
        except (sa.exc.SQLAlchemyError, OSError):
            return None  # told as a finding of its own, or it is no server where the mail is written
    return seen[0] == seen[1]


def place(url: sa.URL) -> tuple[Any, ...]:
    """What makes two URLs the same database, whatever the driver and the user."""
    return of_url(url).place(url)


def autocommit(session: sa.Engine) -> Iterator[Finding]:
    """Mail goes with the transaction that wrote it."""
    if autocommits(session):
        yield Finding("database", False, _AUTOCOMMIT, REMEDY)


def several_databases(session: sa.Engine | None, others: Iterable[sa.Engine]) -> Iterator[Finding]:
    """One commit for mail and rows."""
    for other in others:
        if session is not None:
            yield Finding(
                "database",
                None,
                f"the application's session commits mail to {where(session)} and may commit rows to {where(other)}, "
                "one after the other: if the second commit fails, the first stays",
                ONE_DATABASE,
            )


def autocommits(engine: sa.Engine) -> bool:
    """Whether transactions of this engine can't be rolled back; False as well where it does not answer."""
    options = engine.get_execution_options()
    if str(options.get("isolation_level", "")).upper() == "AUTOCOMMIT":
        return True
    try:
        with engine.connect() as connection:
            return of(engine).begins_nothing(connection)
    except (sa.exc.SQLAlchemyError, OSError):
        return False
