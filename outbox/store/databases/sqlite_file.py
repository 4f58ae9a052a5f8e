"""SQLite's file: whether it was replaced under an open connection, and whether another connection has committed.

After a restore, a connection would go on with the file that was there, which nobody else sees any more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import ConnectionPoolEntry

from outbox.core.events import logger

LOOK_SECONDS = 0.02
"""How often the data version is looked at: some 50 µs each, 0.25 % of a core."""

_LONGEST_PAUSE = 30.0

_FILE = "outbox_file"  # (path, device, inode) of what a connection has open


def notice_replaced(engine: Engine) -> None:
    """Have the pool of this engine give out no connection to a file that was replaced."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        path = next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
        if path:
            found = os.stat(path)
            record.info[_FILE] = (path, found.st_dev, found.st_ino)

    @event.listens_for(engine, "checkout")
    def given_out(connection: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
        if is_replaced(record.info):
            raise sa.exc.DisconnectionError("the file was replaced")  # the pool tries another one


def is_replaced(info: Mapping[Any, Any]) -> bool:
    """Whether the connection with this `info` has another file open than the one that is in its place now.

    Raises OperationalError while there is none: connecting would make an empty one.
    """
    if _FILE not in info:
        return False
    path, device, inode = info[_FILE]
    try:
        found = os.stat(path)
    except OSError as error:
        raise sa.exc.OperationalError(f"the database file {path} is gone", None, error) from None
    if (found.st_dev, found.st_ino) == (device, inode):
        return False
    logger.warning("the database file %s was replaced: connecting to the new one", path)
    return True


class DataVersion:
    """Looks at `PRAGMA data_version`, which changes when another connection commits, on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopped = threading.Event()

    def run(self, nudge: Callable[[], None]) -> None:
        """Calls `nudge` at each commit, until stopped."""
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
