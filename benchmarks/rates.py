"""What rates cost where they never limit: drains without and with them in turns, on each database.

Processor time is that of the worker, less its start, and of the database server; on SQLite the worker is both.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import sqlalchemy as sa

from benchmarks import drain, stock
from benchmarks.ground import Ground
from tests.servers.databases import Database
from tests.servers.process import ServerUnavailable

CONNECTIONS = 16
WITHOUT, WITH = "no rate", "rates"
LIMITS = {
    "OUTBOX_RATE": "100000/second, 1000000/minute",
    "OUTBOX_PER_DAY": "50000000",
    "OUTBOX_DOMAIN_RATES": '{"example.org": "100000/second"}',
}
"""Of all mail, and of the one domain that it is to."""


def rates(ground: Ground) -> None:
    """`multiple`: processor time, of what the drain without took in the same turn; `share`: messages a second."""
    drain.idle(ground)
    for turn in range(ground.size.repetitions):
        for name in ("postgresql", "mariadb", "sqlite"):
            try:
                _turn(ground, name, turn)
            except ServerUnavailable as reason:
                ground.keep("rates", name, absent=str(reason))


def _turn(ground: Ground, name: str, turn: int) -> None:
    order = (WITHOUT, WITH) if turn % 2 == 0 else (WITH, WITHOUT)
    found = {case: _drained(ground, name, LIMITS if case is WITH else {}) for case in order}
    for case, (machine, rate) in found.items():
        usual_machine, usual_rate = found[WITHOUT]
        ground.keep(
            "rates",
            f"{name}, {case}",
            machine=machine,
            rate=rate,
            multiple=machine / usual_machine,
            share=rate / usual_rate,
        )


def _drained(ground: Ground, name: str, settings: dict[str, str]) -> tuple[float, float]:
    """Processor seconds of 1,000 messages, and messages a second."""
    start = next(line["cpu"] for line in ground.lines if line["figure"] == "idle")
    with ground.database(name) as database:
        stock.fill(database.worker_engine, ground.size.mails)
        before = server_seconds(database)
        drained = drain.drain(ground, database, CONNECTIONS, settings=settings)
        server = server_seconds(database) - before
    return (drained.cost.cpu - start + server) / drained.mails * 1000, drained.rate


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
