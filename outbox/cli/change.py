"""`outbox-requeue`, `outbox-cancel`, `outbox-mark-sent`, `outbox-send-now`: the same steps for all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click
from sqlalchemy import Connection, Engine

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.changes import CANCEL, HELD_CAP, MARK_SENT, REQUEUE, SEND_NOW, Change
from outbox.cli.command import Command
from outbox.cli.common import ask, console, database, in_app, remark, say
from outbox.cli.console import Console
from outbox.cli.options import deliveries, filter_options, number, taken
from outbox.cli.output import print_json, safe, sentence
from outbox.cli.unmatched import by_state, matching, matching_but
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.operations import Filter, Row

SHOWN = 20
CAP = 1_000_000


def change_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all of these commands take."""
    function = in_app(function)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("--note", metavar="TEXT", help="Why, for the audit."),
        click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal."),
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        filter_options,
        click.argument("ids", nargs=-1, type=int),
    ):
        function = option(function)
    return function


@click.command("outbox-requeue", cls=Command)
@click.option("--suppressed", "stopped_too", is_flag=True, help="Also those whose address is suppressed.")
@change_options
def requeue(ids: tuple[int, ...], stopped_too: bool, **options: Any) -> None:
    """Send failed mail again.

    Queues failed, uncertain or cancelled deliveries: the IDS (of outbox-list), or all that match a filter. They are due
    at once, with a new count of attempts. Mail that had expired loses its expiry date, for all recipients of the
    message. Mail whose content was redacted is left alone. Uncertain mail may have arrived: sent again, it arrives
    twice.

    Mail that failed because its address is suppressed is left out, and counted, unless --suppressed asks for it. For
    one ID there is a question instead, which --yes answers.

    A filter without --state means failed and uncertain mail. --reason suppressed selects what MAIL_SUPPRESS_SEND kept
    from being sent. Asks before it changes more than one.

    \b
    Examples:
      outbox-requeue 4711
      outbox-requeue --state failed --error 5.1.1 --since 2h --dry-run
    """
    _change(REQUEUE, ids, options, stopped_too=stopped_too or len(ids) == 1)


@click.command("outbox-cancel", cls=Command)
@change_options
def cancel(ids: tuple[int, ...], **options: Any) -> None:
    """Cancel queued mail.

    The IDS (of outbox-list), or all that match a filter, will not be sent. Mail that a worker is sending is left
    alone. Failed mail, by its ID or with --state failed, is given up and no longer counted. outbox-requeue undoes it.
    A filter without --state means queued mail. Asks before it changes more than one.

    \b
    Examples:
      outbox-cancel 4711 4712
      outbox-cancel --kind newsletter --older-than 1d
    """
    _change(CANCEL, ids, options)


@click.command("outbox-mark-sent", cls=Command)
@change_options
def mark_sent(ids: tuple[int, ...], **options: Any) -> None:
    """Record that failed or uncertain mail has arrived.

    The IDS (of outbox-list), or all that match a filter, become sent. Nothing is sent, and this can't be undone. A
    filter without --state means failed and uncertain mail. Asks before it changes more than one.

    \b
    Examples:
      outbox-mark-sent 4711
      outbox-mark-sent --state uncertain --since 1d
    """
    _change(MARK_SENT, ids, options)


@click.command("outbox-send-now", cls=Command)
@change_options
def send_now(ids: tuple[int, ...], **options: Any) -> None:
    """Send deferred or scheduled mail now.

    Queued mail that is due later becomes due at once: the IDS (of outbox-list), or all that match a filter. Its
    attempts and its priority are kept. Paused mail waits until the pause ends. A message never offered to a relay
    gets a new Date. Mail that a worker is sending is left alone. Asks before it changes more than one.

    \b
    Examples:
      outbox-send-now 4711
      outbox-send-now --waits deferred
      outbox-send-now --error 4.7.1 --domain example.org --dry-run
    """
    _change(SEND_NOW, ids, options)


def _change(change: Change, ids: tuple[int, ...], options: dict[str, Any], *, stopped_too: bool = True) -> None:
    wanted, dry_run = taken(options, ids), bool(options["dry_run"])
    if wanted.is_empty:
        raise click.UsageError(f"Nothing is selected: give ids, or a filter like --state {change.default[0]}.")
    if not wanted.ids and not wanted.states:
        default = (State.SENT,) if wanted.is_suppressed and change is REQUEUE else change.default
        wanted = replace(wanted, states=default)
        remark(f"No --state given: {' and '.join(default)} mail.")
    engine = database()
    eligible = change.eligible(wanted)
    matched, rows, held, left_out = 0, [], None, 0
    with waiting("looking"), operations.connected(engine) as connection:
        if eligible is not None and not stopped_too:
            left_out = operations.count(connection, replace(eligible, stopped=True), cap=CAP)
            wanted, eligible = replace(wanted, stopped=False), replace(eligible, stopped=False)
        if eligible is not None:
            matched = operations.count(connection, eligible, cap=CAP)
            rows = operations.find(connection, eligible, limit=len(wanted.ids) if dry_run and wanted.ids else SHOWN)
            held = change.held(connection, eligible)
        others = {} if matched or left_out or wanted.ids else _others(connection, wanted)
    if not dry_run and matched > 1 and not options["yes"]:
        if sys.stderr.isatty():
            _preview(Console(sys.stderr), matched, rows)
        ask(f"{change.verb.capitalize()} {deliveries(matched, CAP)}?", yes=False)
    if change is REQUEUE and len(ids) == 1 and not dry_run and rows and rows[0].reason == Reason.SUPPRESSION:
        why = rows[0].reply or "the address is suppressed"
        ask(f"{sentence(why[:1].upper() + why[1:])} Send it all the same?", yes=options["yes"])
    would = operations.Batch([row.id for row in rows])
    batches = [would] if dry_run or not matched else _work(change, wanted, matched, engine, options["note"])
    changed = 0 if dry_run else sum(len(batch.changed) for batch in batches)
    uncertain = sum(len(batch.uncertain) for batch in batches)
    left = _left_alone(engine, wanted, batches)
    if options["as_json"]:
        states = {id: None if row is None else row.state for id, row in left.items()}
        counts: dict[str, Any] = {"matched": matched, "changed": changed}
        if change is CANCEL:
            counts["uncertain"] = uncertain
        said = {"action": change.name, "dry_run": dry_run, **counts, "left_alone": states}
        said |= {"other_states": others} if others else {}
        said |= {"suppressed": left_out} if left_out else {}
        print_json(said if held is None else said | {"held": {str(one): count for one, count in held}})
    else:
        if dry_run and rows:
            _preview(console(), matched, rows[:SHOWN])
        for id, row in left.items():
            say(f"Delivery {id} {_why_not(change, row, wanted)}.")
        if held:
            names = ", ".join(f"{one} ({deliveries(count, HELD_CAP)})" for one, count in held)
            say(f"Paused, and sent only when the pause ends: {names}. `outbox-resume` ends it.")
        if others:
            say(_why_none(change, others, wanted))
        say(f"Would {change.verb} {deliveries(matched, CAP)}." if dry_run else f"{deliveries(changed)} {change.done}.")
        if left_out:
            say(
                f"{deliveries(left_out, CAP)} {'is' if left_out == 1 else 'are'} left out, because the address is "
                "suppressed: --suppressed includes them, `outbox-suppressions ADDRESS` says why."
            )
        if uncertain:
            say(
                f"{deliveries(uncertain)} may have been sent already and "
                f"{'is' if uncertain == 1 else 'are'} uncertain now: use outbox-requeue or outbox-mark-sent to decide."
            )
    if left or uncertain:
        raise click.exceptions.Exit(1)


def _preview(out: Console, matched: int, rows: list[operations.Row]) -> None:
    from outbox.cli.tables import print_mails

    print_mails(out, rows)
    if matched > len(rows):
        out.print(f"and {number(matched - len(rows), CAP)} more")


def _others(connection: Connection, wanted: Filter) -> dict[State, int]:
    """What the filter finds all the same, by state: it can't be changed, or was not asked for."""
    found = by_state(connection, wanted)
    asked = [state for state in wanted.states if state in found]
    return {state: found[state] for state in asked} or found


def _why_none(change: Change, others: dict[State, int], wanted: Filter) -> str:
    able = change.able()
    if any(state in wanted.states and state in able for state in others):
        if change is SEND_NOW:
            return f"{matching_but(others, 'it is due already', 'they are due already')}."
        return f"{matching_but(others, 'its content was redacted', 'their content was redacted')}."
    reachable = [state for state in others if state in able]
    if reachable:
        return f"{matching(others)}. Add --state {' --state '.join(reachable)} to select them."
    return f"{matching(others)}; only {_either(able)} mail can be {change.done}."


def _either(states: list[str]) -> str:
    return " or ".join(states) if len(states) < 3 else f"{', '.join(states[:-1])} or {states[-1]}"


def _left_alone(engine: Engine, wanted: Filter, batches: Sequence[operations.Batch]) -> dict[int, Row | None]:
    """The ids that were asked for and were not changed, as they are now (None: there is no such delivery)."""
    changed = {id for batch in batches for id in (*batch.changed, *batch.uncertain)}
    left = tuple(id for id in dict.fromkeys(wanted.ids) if id not in changed)
    if not left:
        return {}
    with operations.connected(engine) as connection:
        rows = {row.id: row for row in operations.find(connection, Filter(ids=left), limit=len(left))}
    return {id: rows.get(id) for id in left}


def _why_not(change: Change, row: Row | None, wanted: Filter) -> str:
    if row is None:
        return "does not exist: it was purged, or its ID is mistyped"
    if wanted.environment not in (None, row.environment):
        return f"is of the environment {safe(repr(row.environment))}, not of {safe(repr(wanted.environment))}"
    state = str(row.state)
    if state == State.SENT and change is REQUEUE and row.reason == "suppressed":
        return "was not sent, because MAIL_SUPPRESS_SEND was on; --reason suppressed requeues it"
    if row.reason == Reason.SUPPRESSION and wanted.stopped is False:
        return "failed because its address is suppressed; --suppressed requeues it"
    able = change.able()
    if state not in able:
        return f"is {state}; only {_either(able)} mail can be {change.done}"
    if change is SEND_NOW:
        return "is due already, or excluded by the filter"
    return "is excluded by the filter, or its content was redacted"


def _work(change: Change, wanted: Filter, matched: int, engine: Engine, note: str | None) -> list[operations.Batch]:
    """Change batch after batch; what each changed."""
    done = []
    with operations.guarded(engine), waiting(change.done, None if matched > CAP else matched) as told:
        for batch in change.batches(engine, wanted, note):
            done.append(batch)
            told(len(batch.changed))
    return done
