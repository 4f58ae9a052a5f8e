"""What a database server takes, seen from outside."""

from __future__ import annotations

from pathlib import Path

import psutil
import sqlalchemy as sa

from tests.servers.databases import Database


def server_seconds(database: Database) -> float:
    """Processor time that the server has taken so far, ended processes of its included; 0 for SQLite."""
    if database.name == "sqlite":
        return 0.0
    with database.engine.connect() as connection:
        if database.name == "mariadb":
            process = psutil.Process(int(Path(str(connection.scalar(sa.text("SELECT @@pid_file")))).read_text()))
        else:
            own = psutil.Process(connection.scalar(sa.text("SELECT pg_backend_pid()")) or 0)
            parent = own.parent()
            assert parent is not None
            process = parent
        times = process.cpu_times()
        seconds = times.user + times.system + times.children_user + times.children_system
        for child in process.children():
            times = child.cpu_times()
            seconds += times.user + times.system
    database.engine.dispose()
    return float(seconds)
