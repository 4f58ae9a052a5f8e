"""`outbox-purge`: remove old mail now, as the worker does by itself from time to time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import click
from sqlalchemy import Engine

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import ask, database, extension, in_app, say, settings, who
from outbox.cli.options import deliveries, number, options_of_ended, taken, to_timedelta
from outbox.cli.output import print_json
from outbox.cli.unmatched import by_state, matching, matching_but
from outbox.delivery.states import FINAL, State
from outbox.operations import Filter, duration
from outbox.operations import purge as purge_some
from outbox.operations.purge_events import purge_events

BATCH = 500
CAP = 100_000


@click.command("outbox-purge", cls=Command)
@click.option("--older-than", callback=to_timedelta, metavar="TIME", help="Instead of OUTBOX_RETENTION_SECONDS.")
@click.option("--failed", is_flag=True, help="Failed mail, too.")
@options_of_ended
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def purge(older_than: timedelta | None, failed: bool, **options: Any) -> None:
    """Remove old mail.

    Removes messages whose deliveries were all sent or cancelled longer than OUTBOX_RETENTION_SECONDS ago, with their
    attempts and the attachments that no other message needs; without a filter also events and ended suppressions that
    are as old. With a filter, all deliveries of a message must match.
    A kind with a `retention` of its own is removed after that by --kind, and else left to the workers.
    Failed and uncertain mail stays, unless --failed or --state says otherwise. Workers do the same by themselves. Asks
    before it removes more than one.

    \b
    Examples:
      outbox-purge
      outbox-purge --older-than 7d --yes
      outbox-purge --older-than 1d --kind newsletter --dry-run
    """
    wanted = taken(options)
    seconds, but_kinds = _retention(older_than, wanted.kind)
    states = _states(wanted.states, failed)
    wanted = replace(wanted, states=())
    words = f"{' and '.join(states)} mail older than {duration(seconds)}" + (f", {wanted}" if str(wanted) else "")
    words += f", without the kinds that are kept for a time of their own: {', '.join(but_kinds)}" if but_kinds else ""
    engine = database()
    with waiting("looking"), operations.connected(engine) as connection:
        found = operations.purgeable(
            connection, older_than=seconds, states=states, wanted=wanted, cap=CAP, but_kinds=but_kinds
        )
        others = {} if found or wanted.is_empty else by_state(connection, wanted)
    removed = 0
    if not options["dry_run"]:
        ask(f"Remove {deliveries(found, CAP)}: {words}?", yes=options["yes"] or found <= 1)
        trail = operations.audit.Trail("purge", by=who(), filters=words, note=options["note"])
        removed = _purge(
            engine, found, older_than=seconds, states=states, wanted=wanted, trail=trail, but_kinds=but_kinds
        )
        if wanted.is_empty:
            _purge_events(engine, seconds)
    if options["as_json"]:
        print_json(
            {
                "dry_run": options["dry_run"],
                "matched": found,
                "purged": removed,
                "older_than_seconds": seconds,
                "states": states,
            }
            | ({"other_states": others} if others else {})
        )
        return
    if others:
        say(f"{_why_none(others, states, duration(seconds))}.")
    if options["dry_run"]:
        say(f"Would remove the messages of up to {deliveries(found, CAP)}: {words}.")
    else:
        say(f"{number(removed)} message{'' if removed == 1 else 's'} removed: {words}.")


def _retention(older_than: timedelta | None, kind: str | None) -> tuple[float, tuple[str, ...]]:
    """Seconds, and the kinds that they do not hold for."""
    if older_than is not None:
        return older_than.total_seconds(), ()
    own = {one.name: one.retention for one in extension().kinds if one.retention is not None}
    if kind is not None:
        return own.get(kind, settings().retention_seconds), ()
    return settings().retention_seconds, tuple(sorted(own))


def _purge_events(engine: Engine, seconds: float) -> None:
    """What was reported, and what suppressed, belongs to no message and to no filter."""
    while True:
        with operations.transaction(engine) as connection:
            if purge_events(connection, seconds, BATCH) < BATCH:
                return


def _why_none(others: dict[State, int], states: tuple[State, ...], age: str) -> str:
    young = {state: count for state, count in others.items() if state in states}
    if young:
        return matching_but(young, f"it ended less than {age} ago", f"they ended less than {age} ago")
    return matching(others)


def _states(asked: tuple[State, ...], failed: bool) -> tuple[State, ...]:
    live = [state for state in asked if state not in FINAL]
    if live:
        raise click.UsageError(f"{live[0]} mail can't be purged; cancel it first.")
    states = asked or (State.SENT, State.CANCELLED)
    return states if not failed or State.FAILED in states else (*states, State.FAILED)


def _purge(engine: Engine, found: int, *, states: tuple[State, ...], wanted: Filter, **options: Any) -> int:
    removed = 0
    with waiting("removing", None if found > CAP else found) as told:
        while True:
            with operations.transaction(engine) as connection:
                some = purge_some(connection, limit=BATCH, states=states, wanted=wanted, **options)
            removed += some
            told(some)
            if not some:
                return removed
