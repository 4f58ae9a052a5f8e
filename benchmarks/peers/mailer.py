"""django-mailer's `send_mail`, in a process of its own that enqueues as many as it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.ground import Ground
from tests.servers.databases import Database

_ENGINES = {"postgresql": "postgresql", "sqlite": "sqlite3", "mariadb": "mysql"}


@contextmanager
def running(ground: Ground, database: Database) -> Iterator[Callable[[int], tuple[float, float]]]:
    """Gives a function that has it enqueue a number of mails: seconds by the clock, and of its processor time."""
    site = {
        "package": "mailer",
        "database": described(database),
        "smtp_port": ground.sink.port,
        "folder": str(ground.folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.site", "turns"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SITE": json.dumps(site)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    given, told = process.stdin, process.stdout

    def take(count: int) -> tuple[float, float]:
        given.write(f"{count}\n")
        given.flush()
        wall, cpu = map(float, told.readline().split())
        return wall, cpu

    try:
        yield take
    finally:
        given.close()
        process.wait()
        told.close()


def described(database: Database) -> dict[str, object]:
    """The database as Django's settings have it, set as ours is."""
    told: dict[str, object] = database.address.translate_connect_args(
        username="USER", password="PASSWORD", database="NAME", host="HOST", port="PORT"
    )
    options = {"OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"}} if database.name == "sqlite" else {}
    return {"ENGINE": f"django.db.backends.{_ENGINES[database.name]}", **told, **options}
