"""How fast one worker drains a queue, as a ratio to the bare loop that ran right before and right after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from benchmarks import bare, stats, stock
from benchmarks.ground import Ground
from benchmarks.process import Cost, worker
from tests.servers.databases import Database


@contextmanager
def as_it_is(ground: Ground, database: Database) -> Iterator[dict[str, Any]]:
    """Nothing is special."""
    yield {}


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to drain."""

    figure: str
    case: str
    connections: int
    database: str = "postgresql"
    under: Callable[[Ground, Database], AbstractContextManager[dict[str, Any]]] = as_it_is
    """The conditions, around the drain; what it gives is kept with the figures."""
    more: tuple[str, ...] = ()  # arguments of `outbox-sender`
    share: float = 1.0  # of the mails that a drain has
    settings: tuple[tuple[str, str], ...] = ()  # of the worker


@dataclass(frozen=True, slots=True)
class Drained:
    """One drain."""

    rate: float  # mails a second
    mails: int
    cost: Cost


def measure(ground: Ground, trials: Sequence[Trial], *, fewer: bool = False) -> None:
    """Each trial as often as the size says, or a little less, with a bare loop between each two."""
    idle(ground)
    for _ in range(ground.size.fewer if fewer else ground.size.repetitions):
        before = bare.rate(ground.sink, ground.size.bare)
        for trial in trials:
            with ground.database(trial.database) as database:
                stock.fill(database.worker_engine, int(ground.size.mails * trial.share))
                with trial.under(ground, database) as conditions:
                    drained = drain(ground, database, trial.connections, more=trial.more, settings=dict(trial.settings))
            after = bare.rate(ground.sink, ground.size.bare)
            keep(ground, trial.figure, trial.case, drained, (before, after), **conditions)
            before = after


def drain(
    ground: Ground,
    database: Database,
    connections: int,
    *,
    port: int | None = None,
    most: int | None = None,
    more: tuple[str, ...] = (),
    settings: Mapping[str, str] | None = None,
    look: Callable[[int], None] = lambda pid: None,
) -> Drained:
    """Have a worker send what is queued: everything, or, of more than that, until `most` are accepted, which are timed.

    Checks that no mail was accepted twice and that what was accepted is recorded as sent. `port`: a proxy's. `more`:
    arguments of `outbox-sender`. `look` is called with the worker's process id all the while.
    """
    before = _last_attempt(database)
    ground.sink.reset()
    arguments = ("--drain", "--connections", str(connections), *more)
    environ = ground.environ(database, port=port) | dict(settings or {})
    process = worker(environ, ground.folder / "worker.log", *arguments)

    def enough() -> bool:
        look(process.pid)
        return most is not None and ground.sink.count() >= most

    process.wait(enough)
    cost = process.stop()
    accepted = ground.sink.accepted()
    if len(accepted) != len({one.message_id for one in accepted}):
        raise RuntimeError(f"some of {len(accepted)} mails were accepted twice: {process.last_words()}")
    if (recorded := _sent_since(database, before)) != len(accepted):
        raise RuntimeError(f"{len(accepted)} mails accepted, {recorded} recorded: {process.last_words()}")
    return Drained(stats.rate([one.at for one in accepted[:most]]), len(accepted), cost)


def keep(
    ground: Ground, figure: str, case: str, drained: Drained, around: tuple[float, float], **more: Any
) -> dict[str, Any]:
    """Keep a drain beside the bare loops around it; gives the line."""
    start = _idle(ground) or 0.0
    return ground.keep(
        figure,
        case,
        ratio=drained.rate / (sum(around) / 2),
        rate=drained.rate,
        bare=list(around),
        mails=drained.mails,
        cpu=(drained.cost.cpu - start) / drained.mails * 1000,
        memory=drained.cost.memory,
        **more,
    )


def idle(ground: Ground) -> float:
    """Processor seconds of a worker with nothing to do: its start. Measured once in a run."""
    if (known := _idle(ground)) is not None:
        return known
    with ground.database("postgresql") as database:
        process = worker(ground.environ(database), ground.folder / "worker.log", "--drain")
        process.wait()
        cost = process.stop()
    ground.keep("idle", "postgresql", cpu=cost.cpu, memory=cost.memory)
    return cost.cpu


def _idle(ground: Ground) -> float | None:
    """As measured in this run."""
    return next((line["cpu"] for line in ground.lines if line["figure"] == "idle"), None)


def _last_attempt(database: Database) -> int:
    with database.worker_engine.connect() as connection:
        return int(connection.scalar(sa.text("SELECT max(id) FROM outbox_attempt")) or 0)


def _sent_since(database: Database, attempt: int) -> int:
    tried = "SELECT delivery_id FROM outbox_attempt WHERE id > :attempt"
    statement = sa.text(f"SELECT count(*) FROM outbox_delivery WHERE state = 'sent' AND id IN ({tried})")
    with database.worker_engine.connect() as connection:
        return int(connection.scalar(statement, {"attempt": attempt}) or 0)
