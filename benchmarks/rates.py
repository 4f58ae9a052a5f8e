"""What rates cost where they never limit: drains without and with them in turns, on each database.

Processor time is that of the worker, less its start, and of the database server; on SQLite the worker is both.
"""

from __future__ import annotations

from benchmarks import drain, stock
from benchmarks.ground import Ground
from benchmarks.servers import server_seconds
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
    start = drain.idle(ground)
    for turn in range(ground.size.repetitions):
        for name in ("postgresql", "mariadb", "sqlite"):
            try:
                _turn(ground, name, turn, start)
            except ServerUnavailable as reason:
                ground.keep("rates", name, absent=str(reason))


def _turn(ground: Ground, name: str, turn: int, start: float) -> None:
    order = (WITHOUT, WITH) if turn % 2 == 0 else (WITH, WITHOUT)
    found = {case: _drained(ground, name, LIMITS if case is WITH else {}, start) for case in order}
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


def _drained(ground: Ground, name: str, settings: dict[str, str], start: float) -> tuple[float, float]:
    """Processor seconds of 1,000 messages, and messages a second. `start`: those of the worker's start."""
    with ground.database(name) as database:
        stock.fill(database.worker_engine, ground.size.mails)
        before = server_seconds(database)
        drained = drain.drain(ground, database, CONNECTIONS, settings=settings)
        server = server_seconds(database) - before
    return (drained.cost.cpu - start + server) / drained.mails * 1000, drained.rate
