"""How many rows of old mail a worker's purge removes in a second, and what claims take meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import sqlalchemy as sa

from benchmarks import history, stats, stock
from benchmarks.ground import Ground, say
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxMessage, table_of
from outbox.operations import Purger
from outbox.store.engines import worker_engine
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from tests.servers.databases import Databases

OTHERS = ("mariadb", "sqlite")
_MESSAGE, _DELIVERY, _ATTEMPT = table_of(OutboxMessage), table_of(OutboxDelivery), table_of(OutboxAttempt)
_DAY = 86_400.0
_ROWS = 3  # of each message: itself, a delivery, an attempt
_PORTION = 50_000
_TURNS, _TURN_SECONDS = 4, 6.0
_EACH, _CLAIMED = 0.01, 10  # a claim so often, of so many
_QUEUED = int(2 * _TURNS * _TURN_SECONDS / _EACH) * _CLAIMED


@dataclass(slots=True)
class Purged:
    """What several turns came to."""

    rates: list[float] = field(default_factory=list)  # rows a second, of each turn
    idle: list[list[float]] = field(default_factory=list)  # milliseconds of each claim, by turn
    busy: list[list[float]] = field(default_factory=list)


def purging(ground: Ground) -> None:
    """Each message has one delivery and one attempt, all old; beside the purge, claims of what is queued."""
    for name in ("postgresql", *OTHERS):
        messages = ground.size.purged // _ROWS // (1 if name == "postgresql" else 10)
        say(f"  filling: {messages:,} old messages, {_QUEUED:,} queued")
        with filled(ground.databases, name, messages) as url:
            keep(ground, f"{name}, {messages * _ROWS:,} rows", turns(url))


def keep(ground: Ground, case: str, purged: Purged) -> None:
    """One line: the median of the turns' rates, and the claims' p99 without and with a purge, with their spread.

    `p99_share`: of the median turn with a purge, in shares of the worst turn without; up to 1 it is within the noise.
    """
    p99s = {name: [stats.percentile(turn, 0.99) for turn in getattr(purged, name)] for name in ("idle", "busy")}
    ground.keep(
        "purge",
        case,
        rows_per_second=round(stats.percentile(purged.rates, 0.5)),
        idle_p50_ms=round(stats.percentile(list(chain(*purged.idle)), 0.5), 2),
        busy_p50_ms=round(stats.percentile(list(chain(*purged.busy)), 0.5), 2),
        idle_p99_ms=[round(one, 2) for one in p99s["idle"]],
        busy_p99_ms=[round(one, 2) for one in p99s["busy"]],
        p99_share=round(stats.percentile(p99s["busy"], 0.5) / max(p99s["idle"]), 2),
    )


@contextmanager
def filled(databases: Databases, name: str, count: int) -> Iterator[sa.URL]:
    """A database with that many old messages, and some that are queued."""
    with databases.with_schema(name) as database:
        fill(database.engine, count)
        yield database.address


def fill(engine: sa.Engine, count: int, limit: float = float("inf")) -> int:
    """`count` messages that were sent a month ago, or as many as take `limit` seconds; and others that are queued."""
    made_again: list[str] = []
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            for table in ("outbox_attempt", "outbox_delivery", "outbox_message"):
                made_again += history._without_indexes(connection, table)
    first, made, end = stock._enqueue(engine, None), 1, time.monotonic() + limit
    while made < count and time.monotonic() < end:
        some = min(_PORTION, count - made)
        with engine.begin() as connection:
            _sent(connection, first, some, offset=first + made - 1)
        made += some
    with engine.begin() as connection:
        for table in ("outbox_message", "outbox_delivery") if made_again else ():
            last = f"SELECT max(id) FROM {table}"
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), ({last}))")
        for statement in made_again:
            connection.exec_driver_sql(statement)
    stock.fill(engine, _QUEUED)
    return made


def _sent(connection: sa.Connection, first: int, count: int, *, offset: int) -> None:
    """Copies of the message `first`, sent, with the ids after `offset`."""
    name = connection.dialect.name
    n = stock.numbers(name, count)
    number = (n.c.n + offset).label("number")
    text = stock._TEXT[name](number)
    message = connection.execute(sa.select(_MESSAGE).where(_MESSAGE.c.id == first)).one()
    at = message.skeleton.index(b"n" + b"0" * stock._DIGITS) + 1
    changed: dict[str, Any] = {
        "id": number,
        "message_id": sa.func.replace(_MESSAGE.c.message_id, "0" * stock._DIGITS, text),
        "skeleton": stock._PUT[name](_MESSAGE.c.skeleton, at, text),
    }
    stock._copy(connection, _MESSAGE, n, changed, _MESSAGE.c.id == first)
    ended = stock._EARLIER[name](DbNow(-30 * _DAY), number)
    changed = {
        "id": number,
        "message_id": number,
        "recipient": sa.literal("reader") + text + sa.literal("@example.org"),
        "state": sa.literal("sent"),
        "due_at": sa.null(),
        "attempts": sa.literal(1),
        "code": sa.literal(250),
        "reply": sa.literal("250 2.0.0 Ok: queued as 1"),
        "finished_at": ended,
        "updated_at": ended,
    }
    stock._copy(connection, _DELIVERY, n, changed, _DELIVERY.c.message_id == first)
    history._attempts(connection, _DELIVERY.c.id > offset, _DELIVERY.c.id <= offset + count)


def turns(url: sa.URL, count: int = _TURNS) -> Purged:
    """Claims alone and claims beside a purge, in turns; both in one process, as in a worker."""
    purged = Purged()
    engine = worker_engine(url)
    purger = Purger(engine, environment="", older_than=_DAY)
    for _ in range(count):
        with claims(engine) as idle:
            time.sleep(_TURN_SECONDS)
        began = time.monotonic()
        with claims(engine) as busy:
            messages = purger.run(Until(began + _TURN_SECONDS))
            seconds = time.monotonic() - began
        if not messages:
            break
        purged.rates.append(messages * _ROWS / seconds)
        purged.idle.append(idle)
        purged.busy.append(busy)
    engine.dispose()
    return purged


class Until:
    """Waits as a worker's duty does, and says stop from a moment on."""

    def __init__(self, end: float) -> None:
        self._end = end

    def __call__(self, seconds: float) -> bool:
        time.sleep(seconds)
        return time.monotonic() >= self._end


@contextmanager
def claims(engine: sa.Engine) -> Iterator[list[float]]:
    """Milliseconds that each claim took, one after the other with pauses, in a thread."""
    taken: list[float] = []
    over = threading.Event()

    def claim() -> None:
        queue = Queue(engine, environment="", lease=600)
        with queue.connected():
            worker = queue.register(host="bench", pid=1, version="1", connections=1)
            number = 0
            while not over.wait(_EACH):
                number += 1
                began = time.perf_counter()
                queue.claim(worker, number, _CLAIMED)
                taken.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=claim)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()
