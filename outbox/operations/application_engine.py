"""Whether the application's own engine and that of the workers fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outbox.operations.connect import where
from outbox.operations.finding import Finding
from outbox.store.autocommit import REMEDY, commits_at_once
from outbox.store.dialect import MYSQL_FAMILY
from outbox.store.transactions import ONE_DATABASE


def same_database(engine: sa.Engine, session: sa.Engine) -> Iterator[Finding]:
    """Mail is committed where workers look."""
    if place(engine.url) != place(session.url) and not _same_server(engine, session):
        yield Finding("database", False, apart(engine.url, session.url), _ONE)


def another_database(engine: sa.Engine, session: sa.Engine | None) -> str | None:
    """What to say where it is certain that mail is committed where no worker looks; None where it is not.

    The addresses may differ and the database be the same, behind a pooler for one: then the servers are asked.
    """
    if session is None or place(engine.url) == place(session.url):
        return None
    same = _same_server(engine, session)
    if engine.dialect.name in MYSQL_FAMILY:  # the nodes of a cluster name themselves, and hold the same
        same = same or (None if engine.url.database == session.url.database else False)
    elif engine.dialect.name == "sqlite":
        same = False
    return f"{apart(engine.url, session.url)}. {_ONE}" if same is False else None


def apart(engine: sa.URL, session: sa.URL) -> str:
    """That the workers' database is another than the session's. Without passwords."""
    ours, theirs = (url.render_as_string(hide_password=True) for url in (session, engine))
    return (
        f"the application's session writes to {ours}, workers look in {theirs}: mail would be committed where no "
        "worker sends it"
    )


_ONE = "Set OUTBOX_DATABASE_URL to the database of the session, or leave it out."


def _same_server(engine: sa.Engine, session: sa.Engine) -> bool | None:
    """Whether both find the same database, though by other addresses: a pooler, a socket, another name of the host.

    None: one of them can't be asked.
    """
    statement = _IDENTITIES.get("mysql" if engine.dialect.name in MYSQL_FAMILY else engine.dialect.name)
    if statement is None or engine.dialect.name != session.dialect.name:
        return False if engine.dialect.name != session.dialect.name else None
    seen = []
    for one in (engine, session):
        try:
            with one.connect() as connection:
                seen.append(tuple(connection.exec_driver_sql(statement).one()))
        except (sa.exc.SQLAlchemyError, OSError):
            return None  # told as a finding of its own, or it is no server where the mail is written
    return seen[0] == seen[1]


_IDENTITIES = {
    # the process's start and the table's number: two servers have the same of both by no accident
    "postgresql": "SELECT pg_postmaster_start_time(), current_database(), to_regclass('outbox_message')::oid",
    "mysql": "SELECT @@hostname, @@port, @@datadir, DATABASE()",
}


def place(url: sa.URL) -> tuple[Any, ...]:
    """What makes two URLs the same database, whatever the driver and the user."""
    family = url.get_backend_name()
    family = "mysql" if family in MYSQL_FAMILY else family
    if family == "sqlite":
        name = url.database or ""
        return (family, name if name in {"", ":memory:"} or name.startswith("file:") else str(Path(name).resolve()))
    host = (url.host or str(url.query.get("host", "")) or "localhost").lower().rstrip(".")
    local = {"127.0.0.1", "::1"}
    usual = {"postgresql": 5432, "mysql": 3306}.get(family)
    return (family, "localhost" if host in local else host, url.port or usual, url.database)


def autocommit(session: sa.Engine) -> Iterator[Finding]:
    """Mail goes with the transaction that wrote it."""
    if autocommits(session):
        yield Finding(
            "database",
            False,
            "the application's engine is in AUTOCOMMIT: mail of a transaction that rolls back is sent all the same",
            REMEDY,
        )


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
            driver: Any = connection.connection.driver_connection
            if engine.dialect.name == "sqlite":
                return _sqlite_autocommits(engine, connection, driver)
            return commits_at_once(connection)
    except (sa.exc.SQLAlchemyError, OSError):
        return False


def _sqlite_autocommits(engine: sa.Engine, connection: sa.Connection, driver: Any) -> bool:
    """Python's driver begins no transaction by itself, and no listener of the application's does."""
    if getattr(driver, "autocommit", None) is True:
        return True
    if driver.isolation_level is not None or getattr(driver, "autocommit", None) is False:
        return False
    connection.exec_driver_sql("SELECT 1")
    return not driver.in_transaction
