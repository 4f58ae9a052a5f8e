"""Whether the tables stay as big as what they hold: a week of mail on PostgreSQL in two minutes, hour by hour.

Each hour as many messages are enqueued, claimed, recorded and, after some days, purged, by the statements of a worker;
one in twenty is deferred once. Autovacuum looks once in a simulated hour, sixty times as seldom as by its default, and
pauses between pages for nobody.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from benchmarks import stock
from benchmarks.ground import Ground, say
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.states import State
from outbox.models import Base, OutboxDelivery, OutboxMessage, table_of
from outbox.operations import Purger
from outbox.store.claimed import Claimed
from outbox.store.engines import worker_engine
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from tests.servers.postgres import PostgresServer

HOURS, KEPT_HOURS = 168, 48
_HOUR_SECONDS = 0.8  # at least, so that autovacuum comes as often as it is said to
_TOGETHER, _DEFERRED = 100, 20
_DELIVERY, _MESSAGE = table_of(OutboxDelivery), table_of(OutboxMessage)
_TABLES = ("outbox_message", "outbox_delivery", "outbox_attempt")
CASES = {
    "as it is made": (),
    "autovacuum at 2 % of a table": tuple(
        f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02)" for table in _TABLES
    ),
    "the same, fillfactor 70": tuple(
        f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 70)" for table in _TABLES
    ),
}
_OK = Result(Verdict.ACCEPTED, Phase.DOT, Reply(250, None, "2.0.0 Ok: queued as 4Rz"), 0.1)
_LATER = Result(Verdict.TRANSIENT, Phase.RCPT, Reply(451, "4.7.1", "Try again later"), 0.1)


def churn(ground: Ground) -> None:
    """Each case on a database of its own."""
    server = PostgresServer(fsync=False, autovacuum_naptime="1s", autovacuum_vacuum_cost_delay="0")
    try:
        for number, (case, statements) in enumerate(CASES.items()):
            say(f"  {HOURS} hours of {ground.size.hourly:,} messages, kept for {KEPT_HOURS}: {case}")
            server.create(f"churn{number}")
            ground.keep("churn", case, **week(server.url(f"churn{number}"), statements, ground.size.hourly))
    finally:
        server.close()


def week(url: sa.URL, statements: Sequence[str], hourly: int) -> dict[str, Any]:
    """Megabytes of tables and indexes at the end of each day, and what autovacuum did."""
    engine, plain = worker_engine(url), sa.create_engine(url)
    Base.metadata.create_all(plain)
    with plain.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    queue, store = Queue(engine, environment="", lease=600), OutcomeStore(engine)
    worker = queue.register(host="bench", pid=1, version="1", connections=1)
    began, sizes, token = [], [], 0
    for hour in range(HOURS):
        began.append(time.monotonic())
        first = stock._enqueue(plain, None)
        with plain.begin() as connection:
            stock._multiply(connection, first, hourly - 1, offset=first)
            stock._set_sequence(connection)
        token = _send(queue, store, worker, token)
        if hour >= KEPT_HOURS:
            Purger(engine, environment="", older_than=time.monotonic() - began[hour - KEPT_HOURS + 1]).run(_on)
        if (hour + 1) % 24 == 0:
            sizes.append(_megabytes(plain))
        time.sleep(max(0.0, began[-1] + _HOUR_SECONDS - time.monotonic()))
    with plain.connect() as connection:
        told = connection.exec_driver_sql(
            "SELECT sum(autovacuum_count), sum(n_dead_tup), sum(n_live_tup), "
            "max(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1)) FILTER (WHERE relname = 'outbox_delivery') "
            "FROM pg_stat_user_tables WHERE relname LIKE 'outbox%%'"
        ).one()
    engine.dispose()
    plain.dispose()
    tables, indexes = [round(one[0], 1) for one in sizes], [round(one[1], 1) for one in sizes]
    return {
        "tables_mb": tables,
        "indexes_mb": indexes,
        "grown": (tables[-1] + indexes[-1]) / (tables[3] + indexes[3]),  # since the fourth day, when the purge worked
        "autovacuums": int(told[0]),
        "dead_share": float(told[1]) / float(told[1] + told[2]),
        "hot_percent": round(float(told[3]), 1),
        "seconds": round(time.monotonic() - began[0]),
    }


def _send(queue: Queue, store: OutcomeStore, worker: int, token: int) -> int:
    """All that is due; the last token."""
    while claimed := queue.claim(worker, token := token + 1, _TOGETHER):
        store.record(worker, [_outcome(one) for one in claimed])
    return token


def _outcome(claimed: Claimed) -> Outcome:
    if claimed.id % _DEFERRED == 0 and claimed.attempts == 0:
        return Outcome(claimed, State.QUEUED, 0.0, True, False, None, None, _LATER)
    return Outcome(claimed, State.SENT, None, True, False, None, None, _OK)


def _megabytes(engine: sa.Engine) -> tuple[float, float]:
    """Of the three tables (with TOAST), of their indexes."""
    listed = ", ".join(f"('{table}'::regclass)" for table in _TABLES)
    with engine.connect() as connection:
        row = connection.exec_driver_sql(
            f"SELECT sum(pg_table_size(t)) / 1e6, sum(pg_indexes_size(t)) / 1e6 FROM (VALUES {listed}) AS of (t)"
        ).one()
    return float(row[0]), float(row[1])


def _on(seconds: float) -> bool:
    time.sleep(seconds)
    return False
