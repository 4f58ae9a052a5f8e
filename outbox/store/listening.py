"""Hears of commits at another address than the one that claims: behind a pooler, LISTEN needs the database itself."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.engine import Connection

from outbox.core.events import first_line, logger
from outbox.core.sync import Flag
from outbox.store.databases import of

CHECK_SECONDS = 10.0
"""After so long without news the connection is asked whether it still lives."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to connect; polling goes on meanwhile."""


class Listening:
    """LISTEN on a connection and in a thread of its own: what hangs here holds up no claim. A `FileWatch`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopping = False
        self._flag = Flag()
        self._pause = FIRST_PAUSE

    def run(self, nudge: Callable[[], None]) -> None:
        """Calls `nudge` at each commit, until stopped."""
        while not self._stopping:
            try:
                self._connected(nudge)
            except Exception as error:  # noqa: BLE001 - polling goes on, and so does this
                logger.warning("cannot listen at OUTBOX_LISTEN_URL, polling continues: %s", first_line(error))
                self._flag.wait(self._pause)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def stop(self) -> None:
        """At once."""
        self._stopping = True
        self._flag.set()

    def _connected(self, nudge: Callable[[], None]) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.detach()  # LISTEN stays with it: the pool must not give it to anybody
            if why := deaf(self._engine, connection):
                logger.warning("%s: polling continues", why)
                self._stopping = True
                return
            self._listen(connection, nudge)

    def _listen(self, connection: Connection, nudge: Callable[[], None]) -> None:
        listener = of(self._engine).listener(connection)
        self._pause = FIRST_PAUSE
        nudge()  # for what was committed while nobody listened
        while not self._stopping:
            has_news = self._flag.wait(CHECK_SECONDS, listener.fileno())
            if listener.heard():
                nudge()
            elif not has_news:
                connection.exec_driver_sql("SELECT 1")


def deaf(engine: Engine, connection: Connection) -> str | None:
    """Why LISTEN brings nothing on this connection; None: it does."""
    database = of(engine)
    if not database.can_listen(engine):
        return "OUTBOX_LISTEN_URL needs PostgreSQL by the driver psycopg (postgresql+psycopg://…)"
    if not database.is_direct(connection):
        return "OUTBOX_LISTEN_URL leads to a pooler as well, which can't pass on NOTIFY"
    return None
