"""How fast one worker drains a queue, as a ratio to the bare loop that ran right before and right after."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from benchmarks import bare, stats, stock
from benchmarks.ground import Ground
from benchmarks.worker import Cost, Worker
from tests.servers.databases import Database


@dataclass(frozen=True, slots=True)
class Drained:
    """One drain."""

    rate: float  # mails a second
    cost: Cost


def connections(ground: Ground) -> None:
    """A server that answers at once; 1 to 32 connections."""
    _idle(ground)
    for _ in range(ground.size.repetitions):
        before = bare.rate(ground.sink, ground.size.bare)
        for count in ground.size.connections:
            with ground.database("postgresql") as database:
                stock.fill(database.worker_engine, ground.size.mails)
                drained = drain(ground, database, count, ground.size.mails)
            after = bare.rate(ground.sink, ground.size.bare)
            keep(ground, "drain", f"{count} connections", drained, before, after)
            before = after


def drain(ground: Ground, database: Database, connections: int, mails: int, *, port: int | None = None) -> Drained:
    """Have a worker send everything, and check that each mail was accepted once and recorded as sent."""
    ground.sink.reset()
    worker = Worker(
        ground.environ(database, port=port), ground.folder / "worker.log", "--drain", "--connections", str(connections)
    )
    worker.wait()
    cost = worker.stop()
    accepted = ground.sink.accepted()
    if len({one.message_id for one in accepted}) != mails or len(accepted) != mails:
        raise RuntimeError(f"{mails} mails were queued, {len(accepted)} accepted: {worker.last_words()}")
    with database.worker_engine.connect() as connection:
        unsent = connection.scalar(sa.text("SELECT count(*) FROM outbox_delivery WHERE state <> 'sent'"))
    if unsent:
        raise RuntimeError(f"{unsent} of {mails} deliveries are not recorded as sent: {worker.last_words()}")
    return Drained(stats.rate([one.at for one in accepted]), cost)


def keep(ground: Ground, figure: str, case: str, drained: Drained, before: float, after: float) -> None:
    """Keep a drain beside the bare loops around it."""
    idle = next((line["cpu"] for line in ground.lines if line["figure"] == "idle"), 0.0)
    ground.keep(
        figure,
        case,
        ratio=drained.rate / ((before + after) / 2),
        rate=drained.rate,
        bare=[before, after],
        cpu=(drained.cost.cpu - idle) / ground.size.mails * 1000,
        memory=drained.cost.memory,
    )


def _idle(ground: Ground) -> None:
    """What a worker with nothing to do takes: its start."""
    with ground.database("postgresql") as database:
        worker = Worker(ground.environ(database), ground.folder / "worker.log", "--drain")
        worker.wait()
        cost = worker.stop()
    ground.keep("idle", "postgresql", cpu=cost.cpu, memory=cost.memory)
