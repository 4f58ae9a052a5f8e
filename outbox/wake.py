"""Tells an idle worker that something was committed, sooner than the next poll. Polling stays the guarantee.

PostgreSQL: LISTEN on a connection of its own, which checks itself. SQLite: `PRAGMA data_version`, which changes when
another connection commits. MariaDB has neither. What fails here costs latency, never a mail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.dialect import CHANNEL
from outbox.events import logger

LOOK_SECONDS = 0.02
"""How often SQLite's data version is looked at: some 50 µs each, 0.25 % of a core."""

CHECK_SECONDS = 30.0
"""How long a silent LISTEN connection is trusted before it has to answer."""

_LONGEST_PAUSE = 30.0


class Waker(Protocol):
    """Calls `nudge` soon after a commit."""

    def run(self, nudge: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...


def waker_for(engine: Engine) -> Waker | None:
    """The quickest way that the database has; None where there is only polling."""
    if engine.dialect.name == "postgresql" and engine.driver == "psycopg":
        return PostgresWaker(engine)
    if engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}:
        return SqliteWaker(engine)
    return None


class PostgresWaker:
    """Listens on a dedicated connection; connects again when it is lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopped = threading.Event()

    def run(self, nudge: Callable[[], None]) -> None:
        """Until stopped."""
        pause = 1.0
        while not self._stopped.is_set():
            try:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    try:
                        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
                        pause = 1.0
                        self._listen(connection, nudge)
                    finally:
                        connection.detach()  # a listening connection must not go back to the pool
            except sa.exc.SQLAlchemyError as error:
                logger.warning("the listener lost its connection, polling goes on: %s", str(error).splitlines()[0])
                self._stopped.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def stop(self) -> None:
        """Within a second."""
        self._stopped.set()

    def _listen(self, connection: sa.Connection, nudge: Callable[[], None]) -> None:
        driver: Any = connection.connection.driver_connection
        nudge()  # what was committed before we listened
        silent = 0.0
        while not self._stopped.is_set():
            heard = False
            try:
                for _ in driver.notifies(timeout=1.0, stop_after=1):
                    heard = True
            except Exception as error:
                raise sa.exc.DBAPIError("LISTEN", None, error) from error
            if heard:
                silent = 0.0
                nudge()
                continue
            silent += 1.0
            if silent >= CHECK_SECONDS:  # a connection that a firewall forgot stays silent for ever
                connection.exec_driver_sql("SELECT 1")
                silent = 0.0


class SqliteWaker:
    """Looks at the file's data version on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopped = threading.Event()

    def run(self, nudge: Callable[[], None]) -> None:
        """Until stopped."""
        while not self._stopped.is_set():
            try:
                self._look(nudge)
            except Exception as error:  # noqa: BLE001 - polling goes on, and so does this
                logger.warning("the file's data version can't be read, polling goes on: %s", error)
                self._stopped.wait(_LONGEST_PAUSE)

    def stop(self) -> None:
        """At once."""
        self._stopped.set()

    def _look(self, nudge: Callable[[], None]) -> None:
        raw = self._engine.raw_connection()
        try:
            cursor = raw.cursor()
            seen = None
            while not self._stopped.wait(LOOK_SECONDS):
                version = cursor.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    seen = version
                    nudge()
        finally:
            raw.close()
