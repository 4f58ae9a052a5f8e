"""`outbox-requeue`, `outbox-cancel`, `outbox-mark-sent`: one manner for all, since a slip touches customers' mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click

from outbox import operations
from outbox.cli.base import ask, console, database, in_app, on_terminal, print_json, who
from outbox.cli.waiting import waiting
from outbox.cli.words import filter_options, mails, number, taken
from outbox.operations import Filter
from outbox.states import State, sources

SHOWN = 20
CAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """What one of the commands does."""

    verb: str  # "requeue"
    done: str  # "requeued"
    target: State
    default: tuple[State, ...]  # where a filter says no state


REQUEUE = Change("requeue", "requeued", State.QUEUED, (State.FAILED, State.UNCERTAIN))
CANCEL = Change("cancel", "cancelled", State.CANCELLED, (State.QUEUED,))
MARK_SENT = Change("mark as sent", "marked as sent", State.SENT, (State.FAILED, State.UNCERTAIN))


def change_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all three commands take."""
    function = in_app(function)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("--note", metavar="TEXT", help="Why, for the audit."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        filter_options,
        click.argument("ids", nargs=-1, type=int),
    ):
        function = option(function)
    return function


@click.command("outbox-requeue")
@change_options
def requeue(ids: tuple[int, ...], **options: Any) -> None:
    """Send failed mail again.

    Also mail that is uncertain or was cancelled: the IDS (of outbox-list), or all that match a filter. It is due at
    once, with all its tries before it; mail that had expired loses its expiry date. A filter without --state means
    failed and uncertain mail. Asks before it touches more than one, on a terminal. Uncertain mail may have arrived:
    sent again, it arrives twice.

    \b
    Examples:
      outbox-requeue 4711
      outbox-requeue --state failed --error 5.1.1 --since 2h --dry-run
    """
    _change(REQUEUE, ids, options)


@click.command("outbox-cancel")
@change_options
def cancel(ids: tuple[int, ...], **options: Any) -> None:
    """Take queued mail back.

    The IDS (of outbox-list), or all that match a filter, will not be sent. Mail that a worker is sending is left
    alone. Failed mail, by its ID or with --state failed, is given up and no longer counted. outbox-requeue undoes it.

    \b
    Examples:
      outbox-cancel 4711 4712
      outbox-cancel --kind newsletter --older-than 1d
    """
    _change(CANCEL, ids, options)


@click.command("outbox-mark-sent")
@change_options
def mark_sent(ids: tuple[int, ...], **options: Any) -> None:
    """Note that mail did arrive.

    For failed or uncertain mail: the IDS (of outbox-list), or all that match a filter. Nothing is sent, and nothing
    undoes it. A filter without --state means failed and uncertain mail.

    \b
    Examples:
      outbox-mark-sent 4711
      outbox-mark-sent --state uncertain --since 1d
    """
    _change(MARK_SENT, ids, options)


def _change(change: Change, ids: tuple[int, ...], options: dict[str, Any]) -> None:
    wanted, dry_run = taken(options, ids), bool(options["dry_run"])
    if wanted.is_empty:
        raise click.UsageError(f"Nothing is selected: give ids, or a filter like --state {change.default[0]}.")
    if not wanted.ids and not wanted.states:
        wanted = replace(wanted, states=change.default)
        click.echo(f"No --state given: {' and '.join(change.default)} mail.", err=True)
    engine = database()
    eligible = operations.eligible(wanted, change.target)
    matched, rows = 0, []
    if eligible is not None:
        with waiting("looking"), operations.connected(engine) as connection:
            matched = operations.count(connection, eligible, cap=CAP)
            rows = operations.find(connection, eligible, limit=SHOWN)
    left = _left_alone(engine, wanted, eligible)
    if not dry_run and matched > 1 and not options["yes"] and on_terminal():
        _preview(matched, rows)
        ask(f"{change.verb.capitalize()} {mails(matched, CAP)}?", yes=False)
    changed = 0 if dry_run or not matched else _work(change, wanted, matched, engine, options["note"])
    if options["as_json"]:
        print_json(
            {"action": change.target, "dry_run": dry_run, "matched": matched, "changed": changed, "left_alone": left}
        )
    else:
        if dry_run and rows:
            _preview(matched, rows)
        for id, state in left.items():
            click.echo(f"{id}: {_why_not(change, state)}")
        click.echo(f"Would {change.verb} {mails(matched, CAP)}." if dry_run else f"{mails(changed)} {change.done}.")
    if left:
        raise click.exceptions.Exit(1)


def _preview(matched: int, rows: list[operations.Row]) -> None:
    from outbox.cli.tables import print_mails

    print_mails(console(), rows)
    if matched > len(rows):
        click.echo(f"and {number(matched - len(rows), CAP)} more")


def _left_alone(engine: Any, wanted: Filter, eligible: Filter | None) -> dict[int, str | None]:
    """The ids that were asked for by name and can't be changed, with their state (None: there is no such mail)."""
    if not wanted.ids:
        return {}
    with operations.connected(engine) as connection:
        able = set() if eligible is None else {row.id for row in _all(connection, eligible)}
        states = {row.id: str(row.state) for row in _all(connection, Filter(ids=wanted.ids))}
    return {id: states.get(id) for id in dict.fromkeys(wanted.ids) if id not in able}


def _all(connection: Any, wanted: Filter) -> list[operations.Row]:
    return operations.find(connection, wanted, limit=len(wanted.ids))


def _why_not(change: Change, state: str | None) -> str:
    if state is None:
        return "there is no such mail"
    able = [str(source) for source in sources(change.target) if source is not State.SENDING]
    if state not in able:
        return f"is {state}; only {' or '.join(able)} mail can be {change.done}"
    return "is left out by the filter, or its body was redacted"


def _work(change: Change, wanted: Filter, matched: int, engine: Any, note: str | None) -> int:
    """Change batch after batch; how many were changed."""
    changed = 0
    with operations.guarded(engine), waiting(change.done, None if matched > CAP else matched) as told:
        for batch in operations.in_batches(engine, wanted, change.target, by=who(), note=note):
            changed += batch
            told(batch)
    return changed
