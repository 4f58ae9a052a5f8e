"""`outbox-sender`: the worker, started from a terminal or a service manager."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import click

from outbox.cli.command import Command
from outbox.cli.common import application, in_app, say, settings
from outbox.cli.logs import log_to_stderr
from outbox.cli.options import number
from outbox.cli.progress import Progress

ENDED = {"sent": "sent", "retried": "deferred", "failed": "failed"}


@click.command("outbox-sender", cls=Command)
@click.option("--once", is_flag=True, help="Send what is due now, then end; ends at once if the relay is down.")
@click.option("--drain", is_flag=True, help="Send until nothing is due, then end; waits for a relay that is down.")
@click.option("--connections", type=click.IntRange(1, 1000), metavar="N", help="Instead of OUTBOX_CONNECTIONS.")
@click.option(
    "--processes", type=click.IntRange(1, 256), metavar="N", help="Run this many workers, each in its own process."
)
@in_app
def sender(once: bool, drain: bool, connections: int | None, processes: int | None) -> None:
    """Send the mail that is due: the worker.

    Runs until it is told to stop (SIGTERM, Ctrl-C), and stops gracefully: what is being sent is finished within
    OUTBOX_SHUTDOWN_SECONDS, the rest is released. A second signal ends it at once. Any number of workers may share one
    database. The log goes to stderr, one line for each event. On a terminal --drain shows a progress bar.

    Exit code 0: stopped gracefully; with --once and --drain no due mail is left because of the relay or the account
    (what an operator has paused does not count). 1: due mail is left, or the worker could not continue. 2: it could not
    start.

    With --processes N there are N workers, each with its own connections. One that dies is restarted, and its
    deliveries are released at once.

    \b
    Examples:
      outbox-sender
      outbox-sender --drain --connections 16
      outbox-sender --processes 4
    """
    if once and drain:
        raise click.UsageError("--once and --drain exclude each other.")
    bar = drain and sys.stderr.isatty() and processes is None
    level = logging.WARNING if bar else logging.INFO
    log_to_stderr(as_json=settings().log_json, level=level, aside=processes is None)
    from outbox.worker import process, supervisor

    if processes is not None:
        code = supervisor.run(application(), processes, once=once, drain=drain, connections=connections)
    elif bar:
        code = _drain(connections)
    else:
        code = process.run(application(), once=once, drain=drain, connections=connections)
    raise click.exceptions.Exit(1 if code == process.UNSENT else code)


def _drain(connections: int | None) -> int:
    from outbox.store.queue import DUE_CAP
    from outbox.worker import process

    ended: dict[str, int] = {}
    with Progress("draining", keep=True) as bar:

        def progress(counts: Mapping[str, int], due: int) -> None:
            ended.update(counts)
            bar.done = sum(counts.values())
            bar.total, bar.at_least = bar.done + due, due >= DUE_CAP

        code = process.run(application(), drain=True, connections=connections, progress=progress)
    say(_summary(ended))
    return code


def _summary(ended: dict[str, int]) -> str:
    words = [f"{number(ended.get(name, 0))} {word}" for name, word in ENDED.items()]
    uncertain = ended.get("uncertain", 0)
    return ", ".join([*words, f"{number(uncertain)} uncertain"] if uncertain else words) + "."
