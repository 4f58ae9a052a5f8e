"""What a list of suppressed addresses costs a claim: with a million of them, as a multiple of the time with none."""

from __future__ import annotations

import time
from contextlib import ExitStack

import sqlalchemy as sa

from benchmarks import stats, stock
from benchmarks.ground import Ground, say
from outbox.delivery.states import State
from outbox.models import OutboxDelivery, OutboxSuppression, table_of
from outbox.store.queue import Queue
from outbox.store.types import DbNow

_DELIVERY, _SUPPRESSION = table_of(OutboxDelivery), table_of(OutboxSuppression)
_TURNS = 150
_CLAIMED = 50
_HASH = {  # 32 hexadecimal digits of a number
    "postgresql": lambda n: sa.func.md5(sa.cast(n, sa.String)),
    "mariadb": lambda n: sa.func.md5(sa.cast(n, sa.String)),
    "sqlite": lambda n: sa.func.printf("%016x%016x", n * 2_654_435_761 % 4_294_967_296, n),
}


def suppressed(ground: Ground) -> None:
    """On each database, one with the list and one without, in turns; none of the mail is for an address on it."""
    for name in ("postgresql", "sqlite", "mariadb"):
        with ExitStack() as stack:
            engines = [stack.enter_context(ground.database(name)).worker_engine for _ in range(2)]
            for engine in engines:
                stock.fill(engine, _TURNS * _CLAIMED // 3)
            say(f"  filling: {ground.size.queued:,} suppressed addresses")
            fill(engines[1], ground.size.queued)
            for engine in engines:
                stock.analyze(engine)
            empty, full = _claims(engines)
            median, worst = stats.percentile(empty, 0.5), stats.percentile(full, 0.5)
            ground.keep(
                "suppressed",
                f"{name}, {ground.size.queued:,} on the list",
                claim_ms=round(median, 3),
                ratio=round(worst / median, 3),
            )


def fill(engine: sa.Engine, count: int) -> None:
    """Put `count` addresses on the list that no mail is for."""
    dialect = engine.dialect.name
    n = stock.numbers(dialect, count)
    values = {
        "digest": _HASH[dialect](n.c.n),
        "scope": sa.literal("all"),
        "reason": sa.literal("bounced"),
        "address": sa.func.concat(sa.cast(n.c.n, sa.String), sa.literal("@gone.example")),
        "actor": sa.literal("smtp"),
        "since": DbNow(),
        "until": DbNow(86_400.0),
    }
    with engine.begin() as connection:
        connection.execute(_SUPPRESSION.insert().from_select(list(values), sa.select(*values.values())))


def _claims(engines: list[sa.Engine]) -> tuple[list[float], list[float]]:
    """Milliseconds of each claim, on one and on the other; what is claimed is due again at once."""
    queues = [Queue(engine, environment="", lease=600) for engine in engines]
    workers = [queue.register(host="bench", pid=1, version="1", connections=1) for queue in queues]
    taken: list[list[float]] = [[], []]
    for turn in range(_TURNS):
        for place in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            claimed = queues[place].claim(workers[place], turn + 1, _CLAIMED)
            taken[place].append((time.perf_counter() - began) * 1000)
            with engines[place].begin() as connection:
                again = _DELIVERY.update().where(_DELIVERY.c.id.in_([one.id for one in claimed]))
                connection.execute(again.values(state=State.QUEUED.value, token=None, worker_id=None, due_at=DbNow()))
    return taken[0], taken[1]
