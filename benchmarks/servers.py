"""What a database server takes, seen from outside."""

from __future__ import annotations

from pathlib import Path

import psutil
import sqlalchemy as sa

from tests.servers.databases import Database


def server_seconds(database: Database) -> float:
    """Processor time that the server has taken so far, ended processes of its included; 0 for SQLite."""
    return seconds(server_process(database))


def server_process(database: Database) -> psutil.Process | None:
    """The server's own process, the parent of all others; None for SQLite."""
    if database.name == "sqlite":
        return None
    with database.engine.connect() as connection:
        if database.name == "mariadb":
            process = psutil.Process(int(Path(str(connection.scalar(sa.text("SELECT @@pid_file")))).read_text()))
        else:
            own = psutil.Process(connection.scalar(sa.text("SELECT pg_backend_pid()")) or 0)
            parent = own.parent()
            assert parent is not None
            process = parent
    database.engine.dispose()
    return process


def seconds(process: psutil.Process | None) -> float:
    """Processor time of a process and its children, those that have ended included."""
    if process is None:
        return 0.0
    before = process.cpu_times()
    while True:
        children = sum(map(_own, process.children()))
        after = process.cpu_times()
        ended = after.children_user + after.children_system
        if ended == before.children_user + before.children_system:
            return float(after.user + after.system + ended + children)
        before = after  # a child has ended meanwhile: it may have been counted twice, or not at all


def _own(child: psutil.Process) -> float:
    try:
        times = child.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
