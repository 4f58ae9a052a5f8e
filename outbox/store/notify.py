"""Tells an idle worker that something was committed, sooner than the next poll. Polling stays the guarantee.

PostgreSQL: LISTEN on the connection that claims, so that nothing stands between the news and the claim. SQLite:
`PRAGMA data_version`, which changes when another connection commits. MariaDB has neither. What fails here costs
latency, never a mail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.core.events import logger
from outbox.store.dialect import CHANNEL
from outbox.store.sqlite_file import is_replaced

LOOK_SECONDS = 0.02
"""How often SQLite's data version is looked at: some 50 µs each, 0.25 % of a core."""

_LONGEST_PAUSE = 30.0


class Listener:
    """Hears of commits on a connection that is used for other things as well. For the thread that uses it."""

    def __init__(self, connection: sa.Connection) -> None:
        """On PostgreSQL with psycopg, in autocommit mode: see `can_listen`. Raises SQLAlchemyError."""
        driver: Any = connection.connection.dbapi_connection
        self._driver = driver
        self._heard = False
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        self._driver.add_notify_handler(self._note)  # what comes along with the result of a statement

    def fileno(self) -> int:
        """Readable when there may be news, or the connection is lost."""
        return int(self._driver.fileno())

    def heard(self) -> bool:
        """Whether there was news since this was last asked. Raises what the driver raises on a lost connection."""
        self._driver.pgconn.consume_input()
        while self._driver.pgconn.notifies() is not None:
            self._heard = True
        heard, self._heard = self._heard, False
        return heard

    def _note(self, _: object) -> None:
        self._heard = True


def can_listen(engine: Engine) -> bool:
    """Whether a `Listener` serves here."""
    return engine.dialect.name == "postgresql" and engine.driver == "psycopg"


def watches_file(engine: Engine) -> bool:
    """Whether a `FileWatch` serves here."""
    return engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}


class FileWatch:
    """Looks at the data version of SQLite's file, on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopped = threading.Event()

    def run(self, nudge: Callable[[], None]) -> None:
        """Until stopped."""
        while not self._stopped.is_set():
            try:
                self._look(nudge)
            except Exception as error:  # noqa: BLE001 - polling goes on, and so does this
                logger.warning("cannot read the file's data version, polling continues: %s", error)
                self._stopped.wait(_LONGEST_PAUSE)

    def stop(self) -> None:
        """At once."""
        self._stopped.set()

    def _look(self, nudge: Callable[[], None]) -> None:
        raw = self._engine.raw_connection()
        try:
            cursor = raw.cursor()
            seen = None
            while not self._stopped.wait(LOOK_SECONDS) and not is_replaced(raw.info):
                version = cursor.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    seen = version
                    nudge()
        finally:
            raw.close()
