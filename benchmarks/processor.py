"""Processor time per message: the worker with 4, 16 and 32 connections, and the bare recording loop, in turns.

That of the sending process, less its start, and of the database server. The SMTP server's is the same for all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import drain, stock
from benchmarks.ground import Ground
from benchmarks.process import Process
from benchmarks.servers import server_seconds
from tests.servers.databases import Database

CONNECTIONS = (4, 16, 32)
LOOP = "bare recording loop"


def processor(ground: Ground) -> None:
    """Each as often as the size says; `multiple`: of what the loop of the same turn took."""
    start = drain.idle(ground)
    for _ in range(ground.size.repetitions):
        empty = _cost(ground, 0, _loop)
        whole, _ = _cost(ground, ground.size.mails, _loop)
        loop = (whole - empty[0]) / ground.size.mails * 1000
        ground.keep("processor", LOOP, machine=loop)
        for count in CONNECTIONS:
            machine, worker = _cost(ground, ground.size.mails, _worker(count))
            machine, worker = (1000 * (value - start) / ground.size.mails for value in (machine, worker))
            ground.keep("processor", f"{count} connections", machine=machine, worker=worker, multiple=machine / loop)


def _cost(ground: Ground, mails: int, send: Callable[[Ground, Database], float]) -> tuple[float, float]:
    """Seconds of the sending process and the database server, and of the process alone."""
    with ground.database("postgresql") as database:
        if mails:
            stock.fill(database.worker_engine, mails)
        ground.sink.reset()
        before = server_seconds(database)
        sender = send(ground, database)
        server = server_seconds(database) - before
        if (accepted := ground.sink.count()) != mails:
            raise RuntimeError(f"{accepted} of {mails} mails were accepted")
    return sender + server, sender


def _loop(ground: Ground, database: Database) -> float:
    words = ["-m", "benchmarks.recording", database.url, str(ground.sink.port), str(ground.sink.ca_file)]
    process = Process([sys.executable, *words], {}, ground.folder / "loop.log")
    process.wait()
    return process.stop().cpu


def _worker(connections: int) -> Callable[[Ground, Database], float]:
    return lambda ground, database: drain.drain(ground, database, connections).cost.cpu
