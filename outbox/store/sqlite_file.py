"""Notices that SQLite's file was replaced under an open connection, by a restore for one, and connects anew.

The connection would go on with the file that was there, which nobody else sees any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import ConnectionPoolEntry

from outbox.core.events import logger

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
