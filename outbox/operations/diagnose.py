"""What of the database keeps mail from being written, claimed or recorded: small probes, each with its findings.

Each is one look; none waits longer than `SECONDS`. Nothing is written.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import sqlalchemy as sa
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from outbox.core.errors import OutboxError
from outbox.delivery.routes import Routes
from outbox.operations.addresses import listening, pooler, replica
from outbox.operations.application_engine import autocommit, same_database
from outbox.operations.connect import missing, server, unmigrated, where
from outbox.operations.finding import Finding
from outbox.operations.recording import recording
from outbox.operations.server_settings import server_settings, session_settings
from outbox.operations.transports import REMEDY, left_behind
from outbox.store.databases import of
from outbox.store.due import live_routes
from outbox.store.live_keys import missing_keys
from outbox.store.reading import reading

SECONDS = 10.0
"""Longer than this no diagnosis may take."""

NEEDED_CONNECTIONS = 5
"""What one worker opens at once: to claim, to record (two), for its heartbeat, and for the other duties."""


def diagnose(
    engine: sa.Engine,
    *,
    session: sa.Engine | None,
    max_message_bytes: int,
    wake: bool,
    listen: sa.Engine | None = None,
    read: sa.Engine | None = None,
    flask_migrate: bool = False,
    routes: Routes | None = None,
    seconds: float = SECONDS,
) -> Iterator[Finding]:
    """Everything about the database. `engine`: the workers'; `session`: the application's own, if it gave one.

    `listen`: where workers LISTEN, if that is somewhere else; `read`: the replica that pages and commands read, if any.
    `routes`: between several transports. `flask_migrate`: whether Flask-Migrate keeps its history, so that a migration
    is the remedy.
    """
    if isinstance(engine.pool, SingletonThreadPool | StaticPool):
        seconds = 0.0  # in memory: another thread would find another, empty database
    reached = within(seconds, "database", lambda: [_answers(engine)])
    yield from reached
    if session is not None:
        yield from within(seconds, "database", lambda: same_database(engine, session))
        yield from within(seconds, "database", lambda: autocommit(session))
    if any(finding.ok is False for finding in reached):
        return
    migrated = within(seconds, "migrations", lambda: [_migrations(engine, flask_migrate)])
    yield from migrated
    if all(finding.ok for finding in migrated):
        yield from within(seconds, "recording", lambda: recording(engine))
        yield from within(seconds, "keys", lambda: _keys(engine))
        if routes is not None:
            yield from within(seconds, "transports", lambda: _left_behind(engine, routes))
    for probe in (
        lambda: _connections(engine),
        lambda: server_settings(engine, max_message_bytes),
        lambda: pooler(engine, wake, listens=listen is not None),
        lambda: [] if listen is None or not wake else [listening(engine, listen)],
        lambda: [] if read is None else [replica(engine, read)],
    ):
        yield from within(seconds, "database", probe)
    if session is not None:
        yield from within(seconds, "database", lambda: session_settings(session))


def within(seconds: float, check: str, probe: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of `probe`, or that it did not end in time. It goes on in its thread, which holds up nothing.

    0 seconds: in this thread, for as long as it takes.
    """
    ended: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put(list(probe()))
        except OutboxError as error:
            ended.put([Finding(check, False, str(error))])
        except Exception as error:  # noqa: BLE001 - a finding, whatever it is
            ended.put([Finding(check, False, _line(error))])

    if not seconds:
        run()
        return ended.get()
    threading.Thread(target=run, name=f"outbox-check-{check}", daemon=True).start()
    try:
        return ended.get(timeout=seconds)
    except queue.Empty:
        remedy = "Check that the database is not overloaded or locked, and that no firewall drops its connections."
        return [Finding(check, False, f"no answer within {seconds:g} s", remedy)]


def _answers(engine: sa.Engine) -> Finding:
    return Finding("database", True, f"{server(engine)} at {where(engine)}, driver {engine.driver}")


def _migrations(engine: sa.Engine, flask_migrate: bool) -> Finding:
    lacking = missing(engine)
    words = unmigrated(lacking, flask_migrate=flask_migrate) if lacking else "all tables are there"
    return Finding("migrations", not lacking, words)


def _keys(engine: sa.Engine) -> Iterator[Finding]:
    """Queued mail that can't be opened here."""
    with reading(engine) as connection:
        missing = missing_keys(connection)
    for name in missing:
        words = f"mail is queued that is encrypted with the key {name}, which OUTBOX_ENCRYPTION_KEYS lacks: it waits"
        yield Finding("keys", False, words, "Add the key at the end of OUTBOX_ENCRYPTION_KEYS (outbox-keys lists all).")


def _left_behind(engine: sa.Engine, routes: Routes) -> Iterator[Finding]:
    """Mail that only transports may carry which were taken out of the settings."""
    for route in sorted(route for route in live_routes(engine) if not routes.names(route)):
        yield Finding("transports", False, left_behind(route), REMEDY)


def _connections(engine: sa.Engine) -> Iterator[Finding]:
    if of(engine).in_process:
        return
    opened = 0
    error: Exception | None = None
    with ExitStack() as held:
        for _ in range(min(NEEDED_CONNECTIONS, _most(engine))):
            try:
                held.enter_context(engine.connect()).exec_driver_sql("SELECT 1")
            except sa.exc.SQLAlchemyError as failed:
                error = failed
                break
            opened += 1
    if error is not None:
        yield Finding(
            "connections",
            False,
            f"a worker needs {NEEDED_CONNECTIONS} database connections at once, and only {opened} can be opened: "
            f"{_line(error)}",
            "Raise the limit of the server or of its user (PostgreSQL: max_connections, ALTER ROLE … CONNECTION "
            "LIMIT; MariaDB: max_connections, max_user_connections), or the pool size of the pooler.",
        )


def _most(engine: sa.Engine) -> int:
    """How many connections the engine's pool opens at once."""
    size = getattr(engine.pool, "size", None)
    return int(size()) + max(0, int(getattr(engine.pool, "_max_overflow", 0))) if callable(size) else NEEDED_CONNECTIONS


def _line(error: Exception) -> str:
    """What the driver said, in one line: neither the statement nor its parameters."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
