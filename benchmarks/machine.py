"""What the figures were measured on, in words."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from tests.servers.databases import Databases
from tests.servers.process import ServerUnavailable


def described(databases: Databases) -> str:
    """Day, processor, system and versions, and how busy it was before."""
    versions = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    for name, words in (("postgresql", "PostgreSQL"), ("mariadb", "MariaDB")):
        try:
            with databases.empty(name) as database, database.engine.connect() as connection:
                show = "SHOW server_version" if name == "postgresql" else "SELECT version()"
                version = connection.scalar(sa.text(show))
        except ServerUnavailable:
            continue
        versions.append(f"{words} {str(version).partition('-')[0].split()[0]}")
    day = datetime.now(UTC).date()
    system = f"{len(os.sched_getaffinity(0))} × {_processor()}, Linux {platform.release().partition('-')[0]}"
    return f"{day} on {system}, {', '.join(versions)}; load average {os.getloadavg()[0]:.1f} before"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor")
