"""How many rows of old mail a worker's purge removes in a second, and what claims take meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from benchmarks import history, stats, stock
from benchmarks.ground import Ground, say
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxMessage, table_of
from outbox.operations import Purger
from outbox.store.queue import Queue

_MESSAGE, _DELIVERY, _ATTEMPT = table_of(OutboxMessage), table_of(OutboxDelivery), table_of(OutboxAttempt)
_DAY = 86_400.0


def purging(ground: Ground) -> None:
    """PostgreSQL; each message with one delivery and one attempt, all old; beside it one that claims all the time."""
    count = ground.size.queued
    with ground.database("postgresql") as database:
        engine = database.worker_engine
        say(f"  filling: {count:,} old messages")
        old(engine, count)
        with claims(engine) as idle:
            time.sleep(5.0)
        before = rows(engine)
        began = time.monotonic()
        with claims(engine) as busy:
            messages = Purger(engine, environment="", older_than=_DAY).run(waits)
        seconds = time.monotonic() - began
        ground.keep(
            "purge",
            "postgresql",
            messages=messages,
            rows_per_second=round((before - rows(engine)) / seconds),
            claim_p99_idle_ms=round(stats.percentile(idle, 0.99), 2),
            claim_p99_ms=round(stats.percentile(busy, 0.99), 2),
        )


def old(engine: sa.Engine, count: int) -> None:
    """`count` messages that were sent long ago, one delivery and one attempt each."""
    stock.fill(engine, count)
    with engine.begin() as connection:
        ended = sa.func.now() - sa.func.make_interval(0, 0, 0, 2, 0, 0, _DELIVERY.c.id % 2_000_000)
        done = {"state": "sent", "due_at": None, "attempts": 1, "code": 250, "reply": "250 Ok", "finished_at": ended}
        connection.execute(_DELIVERY.update().values(done))
        history._attempts(connection)
    stock.analyze(engine)


def rows(engine: sa.Engine) -> int:
    """Of the three tables."""
    with engine.connect() as connection:
        return sum(
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (_MESSAGE, _DELIVERY, _ATTEMPT)
        )


def waits(seconds: float) -> bool:
    """As a worker's."""
    time.sleep(seconds)
    return False


@contextmanager
def claims(engine: sa.Engine) -> Iterator[list[float]]:
    """Milliseconds that a claim took, again and again every 10 ms, in a thread."""
    taken: list[float] = []
    over = threading.Event()

    def claim() -> None:
        queue = Queue(engine, environment="", lease=60)
        with queue.connected():
            worker = queue.register(host="bench", pid=1, version="1", connections=1)
            number = 0
            while not over.wait(0.01):
                number += 1
                began = time.perf_counter()
                queue.claim(worker, number, 10)
                taken.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=claim)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()
