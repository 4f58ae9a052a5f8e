"""`outbox-batches`: how far each batch is, and cancelling one."""

from __future__ import annotations

from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command, No
from outbox.cli.common import ask, console, database, in_app, remark, say, settings, who
from outbox.cli.options import COLOURS, deliveries, moment, number
from outbox.cli.output import plain, print_json, safe
from outbox.cli.tables import Column, print_pairs, print_table
from outbox.cli.text import Text
from outbox.delivery.states import State
from outbox.operations.batches import BatchRow, canary_words, cancel, listed, named, share_words, state_words

MAX_LIST = 1_000


@click.command("outbox-batches", cls=Command)
@click.argument("name", required=False)
@click.option("--cancel", "cancels", is_flag=True, help="Add nothing more to NAME, and cancel what is queued.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIST), default=50, show_default=True, metavar="N", help="At most this many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def batches(name: str | None, cancels: bool, as_json: bool, limit: int, **options: Any) -> None:
    """Show how far each batch is.

    Lists the batches (mail.batch), the newest first: how many messages were enqueued, what became of their
    deliveries, the share that is done. With NAME, one of them, counted now; without, what a worker has counted within
    the last seconds where a batch has more than 10,000 deliveries. --cancel ends it: nothing more is added, what is
    queued is cancelled, what was sent stays. outbox-pause --batch and outbox-resume --batch pause and resume one.

    \b
    Examples:
      outbox-batches
      outbox-batches newsletter-7
      outbox-batches newsletter-7 --cancel --note "wrong link in it"
      outbox-list --batch newsletter-7 --state failed
    """
    environment = settings().environment
    if name is None:
        if cancels:
            raise click.UsageError("Name the batch to cancel.")
        with waiting("looking"), operations.connected(database()) as connection:
            found = listed(connection, environment, limit=limit + 1)
        if as_json:
            print_json({"batches": [_object(one) for one in found[:limit]]})
        elif found:
            _print(found[:limit])
            if len(found) > limit:
                remark("There are more: raise --limit.")
        else:
            say("There is no batch.")
        return
    with waiting("counting"), operations.connected(database()) as connection:
        one = named(connection, name, environment)
    if one is None:
        raise No(f"There is no batch {name!r}: it was purged, is of another environment, or its name is mistyped.")
    if cancels:
        _cancel(one, yes=options["yes"], note=options["note"], as_json=as_json)
    elif as_json:
        print_json(_object(one))
    else:
        _print_one(one)


def _cancel(one: BatchRow, *, yes: bool, note: str | None, as_json: bool) -> None:
    queued = one.counts.get(State.QUEUED.value, 0)
    ask(f"Cancel the batch {safe(one.name)} ({deliveries(queued)} queued now)?", yes=yes)
    with operations.guarded(database()), waiting("cancelling"):
        done = list(cancel(database(), one.name, one.environment, by=who(), note=note))
    changed, uncertain = sum(len(some.changed) for some in done), sum(len(some.uncertain) for some in done)
    if as_json:
        print_json({"action": "cancel", "batch": one.name, "changed": changed, "uncertain": uncertain})
        return
    say(f"The batch {safe(one.name)} is cancelled: {deliveries(changed)} of it, and nothing more is added.")
    if uncertain:
        say(f"{deliveries(uncertain)} became uncertain: the relay may have them already.")


def _print(found: list[BatchRow]) -> None:
    columns = [
        Column("BATCH", ratio=1, wrap=True),
        Column("STATE"),
        Column("DONE", right=True),
        *(Column(head, right=True) for head in ("MESSAGES", "QUEUED", "SENT", "FAILED")),
    ]
    rows = [
        [
            Text(safe(one.name)),
            Text(state_words(one)),
            Text(share_words(one)),
            Text(number(one.messages)),
            *(_count(one, state) for state in (State.QUEUED, State.SENT, State.FAILED)),
        ]
        for one in found
    ]
    print_table(console(), columns, rows)


def _count(one: BatchRow, state: State) -> Text:
    count = one.counts.get(state.value, 0)
    return Text(number(count), style=COLOURS[state] if count else "dim")


def _print_one(one: BatchRow) -> None:
    facts: list[tuple[str, object]] = [("state", state_words(one)), ("done", share_words(one))]
    if one.kind:
        facts.append(("kind", one.kind))
    expected = "" if one.expected is None else f" of {number(one.expected)} expected"
    facts.append(("messages", f"{number(one.messages)}{expected}"))
    facts.append(("deliveries", number(one.deliveries)))
    facts += [(state, number(count)) for state, count in one.counts.items()]
    if purged := one.deliveries - sum(one.counts.values()):
        facts.append(("purged", number(purged)))
    if one.canary is not None:
        facts.append(("canary", canary_words(one)))
    if one.pause is not None:
        why = f": {one.pause.reason}" if one.pause.reason else ""
        facts.append(("paused", f"{moment(one.pause.since)} by {one.pause.by}{why}"))
    if one.refused:
        facts.append(("left out", f"{number(one.refused)}, which could not be composed"))
    facts.append(("begun", moment(one.created_at)))
    if one.filled_at is not None:
        facts.append(("filled", moment(one.filled_at)))
    if one.done_at is not None:
        facts.append(("ended", moment(one.done_at)))
    console().print(Text(safe(f"batch {one.name}"), style="bold"))
    print_pairs(console(), [(name, Text(safe(value))) for name, value in facts])


def _object(one: BatchRow) -> dict[str, Any]:
    return {**plain(one), "ended": one.ended, "share_done": one.share_done}
