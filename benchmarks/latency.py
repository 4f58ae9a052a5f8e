"""From a commit to the server's 250, where the worker is idle: single mails, each when the one before has arrived.

The clock starts when `commit()` has returned to the application, and stops at the moment that the sink writes down,
both CLOCK_MONOTONIC of one machine.
"""

from __future__ import annotations

import random
import time

from sqlalchemy.orm import Session

from app import create_app
from app.extensions import outbox
from benchmarks import mails, stats
from benchmarks.ground import Ground
from benchmarks.process import running, worker

_PAUSE = (0.01, 0.03)  # seconds between the arrival of a mail and the next
_WARM = 10  # mails that do not count: the connection is opened, everything is imported
_PATIENCE = 30.0


def latency(ground: Ground) -> None:
    """PostgreSQL and SQLite, the worker in another process with its default settings; and what polling alone takes."""
    count = ground.size.singles
    for _ in range(ground.size.repetitions):
        _measure(ground, "postgresql", "postgresql", count)
        _measure(ground, "sqlite", "sqlite", count)
    _measure(ground, "postgresql, polling alone", "postgresql", count // 10, OUTBOX_WAKE="false")


def _measure(ground: Ground, case: str, name: str, count: int, **settings: str) -> None:
    with ground.database(name) as database:
        environ = ground.environ(database) | settings
        with running(worker(environ, ground.folder / "worker.log")):
            taken = _milliseconds(ground, environ, count)
    ground.keep(
        "latency",
        case,
        p50=stats.percentile(taken, 0.5),
        p99=stats.percentile(taken, 0.99),
        most=max(taken),
        samples=[round(value, 2) for value in taken],
    )


def _milliseconds(ground: Ground, environ: dict[str, str], count: int) -> list[float]:
    app = create_app(environ=environ)
    pauses = random.Random(1)
    ground.sink.reset()
    committed: dict[str, int] = {}
    with app.app_context(), Session(app.extensions["database"].engine) as session:
        for number in range(count + _WARM):
            message_id = outbox.enqueue(mails.message(number), session).message_id
            session.commit()
            committed[message_id] = time.monotonic_ns()
            _wait_for(ground, number + 1)
            time.sleep(pauses.uniform(*_PAUSE))
    accepted = {one.message_id: one.at for one in ground.sink.accepted()}
    return [(accepted[message_id] - at) / 1e6 for message_id, at in list(committed.items())[_WARM:]]


def _wait_for(ground: Ground, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while ground.sink.count() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"mail {count} was not accepted within {_PATIENCE:.0f} s")
        time.sleep(0.002)
