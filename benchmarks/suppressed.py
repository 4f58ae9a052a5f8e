"""What a list of suppressed addresses costs a claim: with a million of them, as a multiple of the time with none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import sqlalchemy as sa

from benchmarks import stats, stock
from benchmarks.ground import Ground, say
from outbox.delivery.states import State
from outbox.models import OutboxDelivery, OutboxSuppression, table_of
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from tests.servers.databases import Databases

DATABASES = ("postgresql", "mariadb", "sqlite")
_DELIVERY, _SUPPRESSION = table_of(OutboxDelivery), table_of(OutboxSuppression)
_QUEUED = 5_000
_TURNS = 300
_CLAIMED = 50
_WARM = 60  # turns before: what has just been written is not in memory yet as it will be
_HASH = {  # what takes the place of the digest of a number, in no order
    "postgresql": lambda n: sa.func.md5(sa.cast(n, sa.String)),
    "mariadb": lambda n: sa.func.unhex(sa.func.md5(sa.cast(n, sa.String))),
    "sqlite": lambda n: sa.func.printf("%016x%016x", n * 2_654_435_761 % 4_294_967_296, n),
}


def suppressed(ground: Ground) -> None:
    """On each database, one with the list and one without, in turns; none of the mail is for an address on it."""
    for name in DATABASES:
        say(f"  filling: {ground.size.suppressed:,} suppressed addresses")
        with prepared(ground.databases, name, ground.size.suppressed) as engines:
            claims(engines, _WARM)
            empty, full = claims(engines)
        keep(ground, name, empty, full)


def keep(ground: Ground, name: str, empty: list[float], full: list[float]) -> None:
    """One line: the median of each, and of the pairs' ratios."""
    ground.keep(
        "suppressed",
        f"{name}, {ground.size.suppressed:,} on the list",
        claim_ms=round(stats.percentile(empty, 0.5), 3),
        with_list_ms=round(stats.percentile(full, 0.5), 3),
        ratio=round(stats.percentile([b / a for a, b in zip(empty, full, strict=True)], 0.5), 3),
    )


@contextmanager
def prepared(databases: Databases, name: str, count: int) -> Iterator[list[sa.Engine]]:
    """Two databases with the same mail, each for an address of its own; the second with `count` on the list."""
    with ExitStack() as stack:
        made = [stack.enter_context(databases.with_schema(name)) for _ in range(2)]
        for place, database in enumerate(made):
            stock.fill(database.engine, _QUEUED)  # not a worker's: that one gives up after some seconds
            with database.engine.begin() as connection:
                connection.execute(_DELIVERY.update().values(digest=_HASH[name](-_DELIVERY.c.id)))
            fill(database.engine, count if place else 0)
            stock.analyze(database.engine, "outbox_suppression")
        yield [database.worker_engine for database in made]


def fill(engine: sa.Engine, count: int) -> None:
    """Put `count` addresses on the list that no mail is for."""
    if not count:
        return
    dialect = engine.dialect.name
    n = stock.numbers(dialect, count)
    number = sa.cast(n.c.n, sa.String(20))
    values = {
        "digest": _HASH[dialect](n.c.n),
        "scope": sa.literal("all"),
        "reason": sa.literal("bounced"),
        "address": number.concat("@gone.example"),
        "actor": sa.literal("smtp"),
        "since": DbNow(),
        "until": DbNow(86_400.0),
    }
    with engine.begin() as connection:
        connection.execute(_SUPPRESSION.insert().from_select(list(values), sa.select(*values.values())))


def claims(engines: list[sa.Engine], turns: int = _TURNS) -> tuple[list[float], list[float]]:
    """Milliseconds of each claim, on one and on the other; what is claimed is due again at once."""
    queues = [Queue(engine, environment="", lease=600) for engine in engines]
    workers = [queue.register(host="bench", pid=1, version="1", connections=1) for queue in queues]
    taken: list[list[float]] = [[], []]
    sizes: list[list[int]] = [[], []]
    for turn in range(turns):
        for place in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            claimed = queues[place].claim(workers[place], turn + 1, _CLAIMED)
            taken[place].append((time.perf_counter() - began) * 1000)
            sizes[place].append(len(claimed))
            with engines[place].begin() as connection:
                again = _DELIVERY.update().where(_DELIVERY.c.id.in_([one.id for one in claimed]))
                connection.execute(again.values(state=State.QUEUED.value, token=None, worker_id=None, due_at=DbNow()))
    if sizes[0] != sizes[1] or not all(sizes[0]):
        raise RuntimeError("the two did not claim the same: their times can't be compared")
    return taken[0], taken[1]
