"""Whether a drain stays as fast with much queued, with a long history, with an old snapshot open.

By its rate, as a ratio to the bare loop, and by the processor time of worker and database server, which says the same
on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import sqlalchemy as sa

from benchmarks import bare, drain, history, stock
from benchmarks.conditions import MANY
from benchmarks.ground import Ground, say
from benchmarks.processor import Window
from benchmarks.servers import server_process
from tests.servers.databases import Database


def flat(ground: Ground) -> None:
    """Each beside a drain of the same mails from a database without; all of them 32 connections, PostgreSQL."""
    drain.idle(ground)
    with (
        ground.database("postgresql") as plain,
        ground.database("postgresql") as queued,
        ground.database("postgresql") as old,
    ):
        say(f"  filling: {ground.size.queued:,} queued")
        stock.fill(queued.engine, ground.size.queued)
        say(f"  filling: {ground.size.history:,} deliveries and their attempts in history")
        history.fill(old.engine, ground.size.history)
        for _ in range(ground.size.fewer):
            usual = _share(ground, "plain", plain, None)
            _share(ground, f"{ground.size.queued:,} queued", queued, usual, fill=False)
            _share(ground, f"{ground.size.history:,} in history", old, usual)
            with ground.database("postgresql") as seen:
                _share(ground, "snapshot open", seen, usual, under=snapshot(seen))


@contextmanager
def snapshot(database: Database) -> Iterator[None]:
    """A transaction that has read and goes on: nothing that was deleted or changed since may be cleaned away."""
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(sa.text("SELECT count(*) FROM outbox_worker"))
        yield


def _share(
    ground: Ground,
    case: str,
    database: Database,
    usual: tuple[float, float] | None,
    *,
    fill: bool = True,
    under: AbstractContextManager[None] | None = None,
) -> tuple[float, float]:
    """Drain and keep; gives the ratio to the bare loop and the processor time, and keeps what they are of `usual`."""
    if fill:
        stock.fill(database.engine, ground.size.mails)
    window = Window(ground.sink, ground.size.mails, server_process(database))
    before = bare.rate(ground.sink, ground.size.bare)
    with under or nullcontext():
        most = None if fill else ground.size.mails
        drained = drain.drain(ground, database, MANY, most=most, look=window.look)
        machine = window.taken().machine
    after = bare.rate(ground.sink, ground.size.bare)
    ratio = drained.rate / ((before + after) / 2)
    share = {"share": ratio / usual[0], "machine_share": machine / usual[1]} if usual else {}
    drain.keep(ground, "flat", case, drained, (before, after), machine=machine, **share)
    return ratio, machine
