"""`outbox-purge`: remove old mail now, as the worker does by itself from time to time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from outbox import operations
from outbox.cli.base import database, in_app, on_terminal, print_json, settings, who
from outbox.cli.words import number, to_timedelta
from outbox.operations import duration
from outbox.operations import purge as purge_some
from outbox.states import State

BATCH = 500


@click.command("outbox-purge")
@click.option("--older-than", callback=to_timedelta, metavar="TIME", help="Instead of OUTBOX_RETENTION_SECONDS.")
@click.option("--failed", is_flag=True, help="Failed mail too, which otherwise waits for a person.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def purge(older_than: timedelta | None, failed: bool, yes: bool, as_json: bool) -> None:
    """Remove mail that ended long ago.

    Sent and cancelled messages go, with their tries and attachments. A message goes when all its recipients are
    done with. Failed and uncertain mail stays. Workers do this by themselves, after OUTBOX_RETENTION_SECONDS.

    \b
    Examples:
      outbox-purge
      outbox-purge --older-than 7d --yes
    """
    seconds = settings().retention_seconds if older_than is None else older_than.total_seconds()
    states = (State.SENT, State.CANCELLED, *((State.FAILED,) if failed else ()))
    words = f"{', '.join(states[:-1])} and {states[-1]} mail older than {duration(seconds)}"
    if not yes and on_terminal():
        click.confirm(f"Remove {words}?", abort=True, err=True)
    removed = _purge(database(), seconds, states, words)
    if as_json:
        print_json({"purged": removed, "older_than_seconds": seconds, "states": states})
    else:
        click.echo(f"{number(removed)} message{'' if removed == 1 else 's'} removed: {words}.")


def _purge(engine: Any, seconds: float, states: tuple[State, ...], words: str) -> int:
    removed = 0
    trail = operations.audit.Trail("purge", by=who(), filters=words)
    while True:
        with operations.transaction(engine) as connection:
            some = purge_some(connection, older_than=seconds, limit=BATCH, states=states, trail=trail)
        removed += some
        if not some:
            return removed
