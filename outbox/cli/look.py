"""`outbox-list` and `outbox-show`: find mail, and see one with its tries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from outbox import operations
from outbox.cli.base import No, console, database, in_app, print_json, safe
from outbox.cli.words import COLOURS, filter_options, moment, number, taken
from outbox.operations import Attempt, Detail, duration
from outbox.states import State

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

MAX_LIST = 10_000
SIBLINGS_SHOWN = 10


@click.command("outbox-list")
@filter_options
@click.option("--limit", type=click.IntRange(1, MAX_LIST), default=50, show_default=True, help="At most so many.")
@click.option("--before", type=click.IntRange(1), metavar="ID", help="Only older ones than ID: the next page.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on stdout.")
@in_app
def list_(limit: int, before: int | None, as_json: bool, **options: Any) -> None:
    """List mail, the newest first.

    One line for each recipient; all conditions must hold.

    \b
    Examples:
      outbox-list --state failed --since 2h
      outbox-list --recipient ann@example.org
      outbox-list --error 5.1.1 --domain example.org --json
    """
    from outbox.cli.tables import print_mails

    wanted = taken(options)
    with operations.connected(database()) as connection:
        rows = operations.find(connection, wanted, before=before, limit=limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("The outbox is empty." if wanted.is_empty and before is None else "No mail matches.")
        return
    print_mails(console(), rows)
    if more:
        click.echo(f"There is more: add --before {rows[-1].id} for the next page.", err=True)


@click.command("outbox-show")
@click.argument("id", type=int)
@click.option("--raw", is_flag=True, help="Only the wire form, as it is sent. It holds the body.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def show(id: int, raw: bool, as_json: bool) -> None:
    """Show one mail with its tries.

    ID is that of outbox-list. Envelope, headers and every try are shown; the body only with --raw.

    \b
    Examples:
      outbox-show 4711
      outbox-show 4711 --raw > mail.eml
    """
    if raw and as_json:
        raise click.UsageError("--raw and --json exclude each other.")
    with operations.connected(database()) as connection:
        detail = operations.show(connection, id)
        if detail is None:
            raise No(f"There is no mail {id}: it was purged, or it is in another database.")
        wire = operations.wire(connection, detail.message_id) if raw else b""
    if raw:
        _print_raw(wire)
    elif as_json:
        print_json(detail)
    else:
        _print_detail(console(), detail)


def _print_raw(wire: bytes) -> None:
    """To the byte in a pipe; on a terminal nothing that it could obey."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(wire)
        return
    for line in wire.decode("utf-8", "replace").split("\r\n"):
        click.echo(safe(line))


def _print_detail(out: Console, detail: Detail) -> None:
    from rich.text import Text

    from outbox.cli.tables import print_pairs

    out.print(Text.assemble((f"mail {detail.id}", "bold"), "  ", (detail.state, f"bold {COLOURS[detail.state]}")))
    print_pairs(out, [(name, Text(safe(value))) for name, value in _facts(detail)])
    _heading(out, "headers")
    print_pairs(out, [(f"{safe(name)}:", Text(safe(value))) for name, value in detail.headers])
    _heading(out, "tries")
    print_pairs(out, [(moment(attempt.at), _try(attempt)) for attempt in detail.tries] or [("none yet", Text())])
    if detail.siblings:
        _heading(out, "other recipients")
        shown = detail.siblings[:SIBLINGS_SHOWN]
        print_pairs(out, [(str(s.id), _state(s.state).append(f"  {safe(s.recipient)}", style="none")) for s in shown])
        if len(detail.siblings) > len(shown):
            out.print(f"  and {number(len(detail.siblings) - len(shown))} more")


def _state(state: State) -> Text:
    from rich.text import Text

    return Text(state, style=COLOURS[state])


def _heading(out: Console, words: str) -> None:
    from rich.text import Text

    out.print()
    out.print(Text(words, style="bold"))


def _facts(detail: Detail) -> Iterator[tuple[str, object]]:
    """What is known, but for what is as it mostly is."""
    yield "recipient", detail.recipient
    yield "subject", detail.subject
    yield "sender", f"{detail.envelope_from or '<>'} (envelope)"
    yield "Message-ID", detail.message_id_header
    yield "enqueued", f"{moment(detail.created_at)} ({duration(detail.age)} ago)"
    if detail.due_at is not None:
        yield ("due" if detail.state == "queued" else "lease until"), moment(detail.due_at)
    if detail.finished_at is not None:
        yield "ended", moment(detail.finished_at)
    if detail.expires_at is not None:
        yield "expires", moment(detail.expires_at)
    if detail.reason:
        yield "reason", detail.reason
    if detail.code or detail.reply:
        yield "last reply", _reply(detail)
    yield "priority", detail.lane
    if detail.kind:
        yield "kind", detail.kind
    yield "tries counted", detail.attempts
    if detail.rescues:
        yield "rescues", f"{detail.rescues} (a worker or connection ended while it held this mail)"
    yield "on uncertain", detail.on_uncertain
    if detail.marked_at is not None:
        yield "final dot", f"may have been sent since {moment(detail.marked_at)}"
    yield "size", f"{number(detail.size)} bytes" + (", needs SMTPUTF8" if detail.smtputf8 else "")
    if detail.key:
        yield "key", detail.key
    if detail.environment:
        yield "environment", detail.environment
    if detail.metadata:
        yield "metadata", detail.metadata
    if detail.redacted_at is not None:
        yield "redacted", moment(detail.redacted_at)


def _reply(said: Detail | Attempt) -> str:
    return " ".join(str(part) for part in (said.code, said.enhanced, said.reply) if part)


def _try(attempt: Attempt) -> Text:
    from rich.text import Text

    colour = {"accepted": "green", "permanent": "red", "unknown": "yellow"}.get(attempt.verdict, "")
    facts = [f"at {attempt.phase}", f"{attempt.duration:.2f}s"]
    if attempt.transport:
        facts.append(safe(attempt.transport))
    if attempt.worker:
        facts.append(f"worker {safe(attempt.worker)}")
    if attempt.relay_id:
        facts.append(f"relay's id {safe(attempt.relay_id)}")
    if not attempt.counted:
        facts.append("not counted")
    if attempt.fenced:
        facts.append("made after its lease was lost")
    words = Text.assemble(
        (attempt.verdict, colour), "  ", safe(_reply(attempt)), ("  (" + ", ".join(facts) + ")", "dim")
    )
    if attempt.note:
        words.append(f"  {safe(attempt.note)}", style="italic")
    return words
