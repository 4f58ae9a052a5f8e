"""`outbox-effects`: what handlers and webhooks are still to do, and having it done again."""

from __future__ import annotations

from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import ask, console, database, extension, in_app, remark, say, settings, who
from outbox.cli.options import moment, number
from outbox.cli.output import print_json, safe
from outbox.cli.tables import Column, print_table
from outbox.cli.text import Text
from outbox.operations.effects import Chosen, Effect, EffectCount

MAX_LIST = 10_000
COUNTED = 100_000


@click.command("outbox-effects", cls=Command)
@click.argument("ids", nargs=-1, type=click.IntRange(1), metavar="ID")
@click.option("--name", metavar="NAME", help="Of this handler or webhook.")
@click.option("--given-up", is_flag=True, help="Only what is not tried any more.")
@click.option("--run", is_flag=True, help="Have them called again, soon.")
@click.option("--drop", is_flag=True, help="Never have them called.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIST), default=50, show_default=True, metavar="N", help="At most this many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def effects(ids: tuple[int, ...], run: bool, drop: bool, as_json: bool, **options: Any) -> None:
    """List what handlers and webhooks are still to do.

    Each handler (mail.on) and each of OUTBOX_WEBHOOKS with how much waits, fails and was given up; below that the
    effects themselves, the newest first. What is done is not listed. --run has those that are named called again; a
    webhook whose receiver answered 410 is called again, too. --drop removes them. Both ask, and need an ID, --name
    or --given-up.

    \b
    Examples:
      outbox-effects
      outbox-effects --given-up --run
      outbox-effects --name shop.mails.note_bounce --drop
    """
    if run and drop:
        raise click.UsageError("Give --run or --drop, not both.")
    chosen = Chosen(settings().environment, options["name"], ids, options["given_up"])
    if run or drop:
        if not (ids or chosen.name or chosen.given_up):
            raise click.UsageError("Name what you mean: an ID, --name or --given-up.")
        _change(chosen, drop=drop, yes=options["yes"], note=options["note"], as_json=as_json)
        return
    limit = options["limit"]
    with waiting("looking"), operations.connected(database()) as connection:
        counts = operations.effects.counts(connection, chosen.environment, COUNTED)
        listed = operations.effects.listed(connection, chosen, limit + 1)
    more, listed = len(listed) > limit, listed[:limit]
    if as_json:
        print_json({"names": counts, "effects": listed})
        return
    if not counts:
        say("Handlers and webhooks have done all that they were to do.")
        return
    _print_counts(counts)
    say("")
    _print_effects(listed)
    if more:
        remark("There is more: raise --limit, or choose by --name.")


def _change(chosen: Chosen, *, drop: bool, yes: bool, note: str | None, as_json: bool) -> None:
    with operations.connected(database()) as connection:
        found = operations.effects.count(connection, chosen, MAX_LIST + 1)
    about = f"more than {MAX_LIST:,}" if found > MAX_LIST else f"{found:,}"
    if found:
        ask(f"{'Drop' if drop else 'Run'} {about} of them{'' if drop else ' again'}?", yes=yes)
    change = operations.effects.drop if drop else operations.effects.run_again
    with operations.transaction(database()) as connection:
        count = change(connection, chosen, by=who(), note=note)
    if as_json:
        print_json({"dropped" if drop else "due": count})
    else:
        say(f"{count:,} {'dropped' if drop else 'are due now: a worker calls them'}.")


def _print_counts(counts: list[EffectCount]) -> None:
    known = set(extension().told_of())
    heads = ("WAITING", "FAILING", "GIVEN UP")
    columns = [Column("NAME", ratio=1), *(Column(head, right=True) for head in heads), Column("")]
    rows = [
        [
            Text(safe(one.name)),
            Text(number(one.waiting)),
            Text(number(one.failing), style="yellow" if one.failing else "dim"),
            Text(number(one.given_up), style="red" if one.given_up else "dim"),
            Text(_said(one, known)),
        ]
        for one in counts
    ]
    print_table(console(), columns, rows)


def _said(one: EffectCount, known: set[str]) -> str:
    if one.disabled:
        return "disabled: its receiver wants no more (410)"
    return "" if one.name in known else "not known to this application"


def _print_effects(listed: list[Effect]) -> None:
    columns = [
        Column("ID", right=True),
        Column("NAME", ratio=1, wrap=True),
        Column("TYPE"),
        Column("DELIVERY", right=True),
        Column("TRIED", right=True),
        Column("NEXT (UTC)"),
        Column("ERROR", ratio=2, wrap=True),
    ]
    rows = [
        [
            str(one.id),
            safe(one.name),
            one.type,
            str(one.delivery_id or "-"),
            str(one.attempts),
            "-" if one.due_at is None else moment(one.due_at).removesuffix(" UTC"),
            safe(one.error or ""),
        ]
        for one in listed
    ]
    print_table(console(), columns, [[Text(cell) for cell in row] for row in rows])
