"""The drain under each condition that can hold it up: few connections, slow commits, a slow server, a long way."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from benchmarks import bare, drain, process, stock
from benchmarks.drain import Trial
from benchmarks.ground import Ground
from benchmarks.proxy import delaying
from benchmarks.sink import Unavailable
from tests.servers.databases import Database

COMMIT_MILLISECONDS = 2
DATA_MILLISECONDS = 20
ROUND_TRIP_MILLISECONDS = 20
MANY = 32
_FEWER = 0.25  # one connection takes its time


def connections(ground: Ground) -> None:
    """A server that answers at once; 1 to 32 connections."""
    trials = [
        Trial("drain", "1 connection", 1, share=_FEWER) if count == 1 else Trial("drain", f"{count} connections", count)
        for count in ground.size.connections
    ]
    drain.measure(ground, trials)


def commits(ground: Ground) -> None:
    """Every commit slowed by 2 ms."""
    drain.measure(ground, [Trial("commits", f"{MANY} connections", MANY, under=slow_commits)], fewer=True)


def server(ground: Ground) -> None:
    """A server that takes 20 ms for DATA; the bare loop does not wait for it."""
    drain.measure(ground, [Trial("server", "64 connections", 64, under=slow_server)], fewer=True)


def sqlite(ground: Ground) -> None:
    """SQLite."""
    drain.measure(ground, [Trial("sqlite", f"{MANY} connections", MANY, database="sqlite")])


def mariadb(ground: Ground) -> None:
    """MariaDB."""
    drain.measure(ground, [Trial("mariadb", f"{MANY} connections", MANY, database="mariadb")])


def processes(ground: Ground) -> None:
    """Two processes."""
    if "--processes" not in process.printed("manage.py", "outbox-sender", "--help"):
        raise Unavailable("outbox-sender --processes is not there")
    more = ("--processes", "2")
    drain.measure(ground, [Trial("processes", "2 × 16 connections", 16, more=more)], fewer=True)


def network(ground: Ground) -> None:
    """One connection over a network with a round trip of 20 ms, and so the bare loop."""
    count = min(ground.size.mails, 100)
    drain.idle(ground)
    with delaying(ground.sink.port, ROUND_TRIP_MILLISECONDS) as port:
        for _ in range(ground.size.fewer):
            before = bare.rate(ground.sink, count // 2, port=port)
            with ground.database("postgresql") as database:
                stock.fill(database.worker_engine, count)
                drained = drain.drain(ground, database, 1, port=port)
            after = bare.rate(ground.sink, count // 2, port=port)
            drain.keep(ground, "network", "1 connection", drained, (before, after))


@contextmanager
def slow_commits(ground: Ground, database: Database) -> Iterator[dict[str, Any]]:
    """PostgreSQL waits before it writes its log at a commit; who commits meanwhile is written with it, as on a disk."""
    microseconds = COMMIT_MILLISECONDS * 1000
    usual = _commit_milliseconds(database.engine)
    _execute(
        database.engine,
        f'ALTER DATABASE "{database.address.database}" SET commit_delay = {microseconds}',
        f'ALTER DATABASE "{database.address.database}" SET commit_siblings = 0',
    )
    database.dispose()
    yield {"commit_ms": _commit_milliseconds(database.engine), "usual_commit_ms": usual}


@contextmanager
def slow_server(ground: Ground, database: Database) -> Iterator[dict[str, Any]]:
    """The sink holds back its reply to the final dot."""
    ground.sink.delay(DATA_MILLISECONDS)
    try:
        yield {"most": 64 / DATA_MILLISECONDS * 1000}
    finally:
        ground.sink.delay(0)


def _commit_milliseconds(engine: Engine, count: int = 50) -> float:
    """What a commit of one row takes, the median."""
    _execute(engine, "CREATE TABLE IF NOT EXISTS bench_commit (n integer)")
    taken = []
    with engine.connect() as connection:
        for number in range(count):
            connection.execute(sa.text("INSERT INTO bench_commit VALUES (:n)"), {"n": number})
            start = time.perf_counter()
            connection.commit()
            taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def _execute(engine: Engine, *statements: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
