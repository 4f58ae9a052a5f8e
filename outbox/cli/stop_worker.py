"""`outbox-stop-worker`: ask a worker to end, from wherever the database can be reached."""

from __future__ import annotations

from typing import Any

import click

from outbox import operations
from outbox.cli.command import Command, No
from outbox.cli.common import ask, database, in_app, say, settings, who
from outbox.cli.output import print_json
from outbox.operations import Ask, Worker


@click.command("outbox-stop-worker", cls=Command)
@click.argument("id", type=click.IntRange(1))
@click.option("--drain", is_flag=True, help="First send until nothing is due.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def stop_worker(id: int, drain: bool, yes: bool, note: str | None, as_json: bool) -> None:
    """Ask a worker to stop.

    The worker ID (of outbox-status), on whichever host, finishes what it is sending, gives back what else it holds, and
    ends: within a few heartbeats and OUTBOX_SHUTDOWN_SECONDS. Nothing is lost. A service manager, or outbox-sender
    --processes, may start it again: to keep mail back, use outbox-pause. A worker in a web process (OUTBOX_IN_PROCESS)
    starts again with that process. Asks where no other worker is running.

    \b
    Examples:
      outbox-stop-worker 12
      outbox-stop-worker 12 --drain --note "new kernel"
    """
    engine, what = database(), Ask.DRAIN if drain else Ask.STOP
    with operations.connected(engine) as connection:
        there = operations.workers(connection, dead_after=settings().dead_after_seconds)
    worker = next((one for one in there if one.id == id), None)
    if worker is None:
        raise No(f"There is no worker {id}, or it has ended. `outbox-status` lists the workers.")
    if worker.alive and not worker.others_alive(there):
        ask(f"No other worker is running: nothing is sent after {_named(worker)}. {what.capitalize()} it?", yes=yes)
    with operations.transaction(engine) as connection:
        asked = operations.ask_to_end(connection, id, what, by=who(), note=note)
    if not asked:
        raise No(f"Worker {id} has ended meanwhile.")
    if as_json:
        value: dict[str, Any] = {"action": f"{what}-worker", "id": id, "host": worker.host, "pid": worker.pid}
        print_json(value | {"alive": worker.alive})
    else:
        say(_said(worker, what))


def _named(worker: Worker) -> str:
    return f"worker {worker.id} ({worker.host}, pid {worker.pid})"


def _said(worker: Worker, what: Ask) -> str:
    if not worker.alive:
        return f"Asked {_named(worker)} to {what}, but it sends no heartbeat: end it on its host if it still runs."
    end = "ends when nothing is due" if what is Ask.DRAIN else "ends within a few heartbeats"
    return f"Asked {_named(worker)} to {what}: it {end}."
