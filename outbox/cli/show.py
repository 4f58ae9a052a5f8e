"""`outbox-show`: one delivery with its attempts, its source, its HTML."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from outbox import operations
from outbox.cli.command import Command, No
from outbox.cli.common import console, database, in_app, remark, replica, say, settings, who
from outbox.cli.console import Console
from outbox.cli.options import COLOURS, moment, number
from outbox.cli.output import plain, print_json, print_whole, safe
from outbox.cli.tables import print_pairs
from outbox.cli.text import Text
from outbox.core import clock
from outbox.core.clock import UNREADABLE
from outbox.core.errors import DatabaseError
from outbox.delivery.routes import Routes
from outbox.delivery.states import State
from outbox.message.preview import preview
from outbox.operations import Attempt, Detail, duration
from outbox.operations.audit import Entry
from outbox.operations.event_log import Event
from outbox.operations.rates import RateUse
from outbox.operations.timeline import Step, timeline
from outbox.settings import Settings
from outbox.store.pauses import Pause

SIBLINGS_SHOWN = 10

_SAFETY = (
    "<!doctype html><meta charset=utf-8><meta http-equiv=Content-Security-Policy "
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    "<meta name=referrer content=no-referrer>\n"
)
"""Before a mail's own HTML: no script, no form, nothing from the network."""


@click.command("outbox-show", cls=Command)
@click.argument("id", type=int)
@click.option("--raw", is_flag=True, help="Only the source, as it is sent, with the body.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True),
    metavar="FILE",
    help="Write the HTML as a page that a browser can show to FILE (-: stdout).",
)
@click.option("--attempts", "only_attempts", is_flag=True, help="Only its attempts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout; with --attempts an array.")
@in_app
def show(id: int, raw: bool, page: str | None, only_attempts: bool, as_json: bool) -> None:
    """Show one delivery with its attempts.

    ID is that of outbox-list. Shows envelope, headers, every attempt, the pauses and rates that hold it, what people
    changed, and the other recipients. The body is shown only with --raw or --html.

    \b
    Examples:
      outbox-show 4711
      outbox-show 4711 --attempts
      outbox-show 4711 --html mail.html
      outbox-show 4711 --raw > mail.eml
    """
    if raw + (page is not None) + (only_attempts or as_json) > 1:
        raise click.UsageError("--raw, --html and --attempts or --json exclude each other.")
    with operations.connected(replica()) as connection:
        detail = operations.show(connection, id)
        if detail is None:
            raise No(f"There is no delivery {id}: it was purged, or it is in another database.")
        wire = operations.wire(connection, detail.message_id, detail.recipient) if raw or page else b""
        changes = operations.audit.of_delivery(connection, id)
        events = operations.event_log.of_delivery(connection, id)
        waits = detail.state is State.QUEUED
        paused = (
            operations.pauses.holding(
                connection, detail.recipient, detail.kind, detail.environment, detail.envelope_from, id, detail.batch
            )
            if waits
            else []
        )
        rated = operations.rates.holding(connection, id, detail.environment, _ways(settings())) if waits else []
    if (raw or page) and detail.redacted_at is None:
        _note(id)
    if raw:
        _print_raw(detail, wire)
    elif page is not None:
        _write_page(detail, wire, page)
    elif as_json:
        print_json(
            detail.attempt_log
            if only_attempts
            else plain(detail) | {"events": events, "changes": changes, "paused": paused, "rates": rated}
        )
    elif only_attempts:
        _print_attempts(console(), detail)
    else:
        _print_detail(console(), detail, changes, paused, rated, events)


def _ways(settings: Settings) -> Routes:
    """By the names that transports have in the database."""
    return settings.routes if settings.transport_names else Routes(tuple(one.name for one in settings.transports))


def _note(id: int) -> None:
    """For the audit: anybody who can run this can read the database, too, so the text is shown even if this fails."""
    try:
        with operations.transaction(database()) as connection:
            operations.note_look(connection, id, "body", by=who())
    except DatabaseError as error:
        remark(f"It could not be noted in the audit that you read this: {error}")


def _write_page(detail: Detail, wire: bytes, path: str) -> None:
    """For the reader's eyes only; what a mail may do to a browser is denied to it."""
    html = None if detail.redacted_at else preview(wire, inline_images=True).html
    if html is None:
        raise No(
            f"Delivery {detail.id} has no HTML" + (": it was redacted." if detail.redacted_at else " part: try --raw.")
        )
    if path == "-":
        print_whole(_SAFETY + html)
        return
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(_SAFETY + html)
    say(f"The HTML of delivery {detail.id} is in {path}. Remote images are left out.")


def _print_raw(detail: Detail, wire: bytes) -> None:
    """To the byte in a pipe; on a terminal nothing that it could obey."""
    if detail.redacted_at is not None:
        raise No(
            f"The content of delivery {detail.id} was redacted at {moment(detail.redacted_at)}: its kind is sensitive "
            f"(by its definition or OUTBOX_SENSITIVE_KINDS). `outbox-show {detail.id}` shows what is left of it."
        )
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(wire)
        return
    for line in wire.decode("utf-8", "replace").split("\r\n"):
        print_whole(safe(line))


def _print_attempts(out: Console, detail: Detail) -> None:
    print_pairs(out, [(moment(attempt.at), _attempt(attempt)) for attempt in detail.attempt_log])
    out.print(_attempt_words(detail))


def _attempt_words(detail: Detail) -> str:
    number_ = len(detail.attempt_log)
    counted = "1 attempt" if number_ == 1 else f"{number_} attempts" if number_ else "no attempt yet"
    return f"delivery {detail.id}: {counted}, {detail.state}"


def _print_detail(
    out: Console,
    detail: Detail,
    changes: list[Entry],
    paused: list[Pause],
    rated: list[RateUse],
    events: list[Event],
) -> None:
    out.print(Text.assemble((f"delivery {detail.id}", "bold"), "  ", (detail.state, f"bold {COLOURS[detail.state]}")))
    held = [("paused", Text(safe(_pause(one)), style="yellow")) for one in paused]
    held += [("waits", Text(safe(one.words or ""), style="yellow")) for one in rated]
    print_pairs(out, [*((name, Text(safe(value))) for name, value in _facts(detail)), *held])
    _heading(out, "headers")
    print_pairs(out, [(f"{safe(name)}:", Text(safe(value))) for name, value in detail.headers])
    _heading(out, "what became of it")
    steps = timeline(detail.attempt_log, events, changes)
    print_pairs(out, [(moment(step.at), _step(step)) for step in steps] or [("no attempt yet", Text())])
    if detail.siblings:
        _heading(out, "other recipients")
        shown = detail.siblings[:SIBLINGS_SHOWN]
        print_pairs(
            out,
            [(str(s.id), _state(s.state).append(f"  {safe(s.recipient)}{detail.mark(s.recipient)}")) for s in shown],
        )
        if len(detail.siblings) > len(shown):
            out.print(f"  and {number(len(detail.siblings) - len(shown))} more")


def _state(state: State) -> Text:
    return Text(state, style=COLOURS[state])


def _heading(out: Console, words: str) -> None:
    out.print()
    out.print(Text(words, style="bold"))


def _distance(detail: Detail) -> str:
    """How long it is until it is due, or since when it has been."""
    if detail.due_at is None or UNREADABLE in (detail.due_at, detail.created_at):
        return ""
    left = (detail.due_at - detail.created_at).total_seconds() - detail.age
    return f" (in {duration(left)})" if left > 0 else f" ({duration(-left)} ago)"


def _facts(detail: Detail) -> Iterator[tuple[str, object]]:
    """What is known, except for usual values."""
    yield "recipient", f"{detail.recipient}{detail.mark(detail.recipient)}"
    yield "subject", detail.subject
    yield "sender", f"{detail.envelope_from or '<>'} (envelope)"
    yield "Message-ID", detail.message_id_header
    yield "enqueued", f"{moment(detail.created_at)} ({duration(detail.age)} ago)"
    if detail.due_at is not None:
        yield ("due" if detail.state == "queued" else "lease until"), moment(detail.due_at) + _distance(detail)
    if detail.finished_at is not None:
        yield "ended", moment(detail.finished_at)
    if detail.expires_at is not None:
        yield "expires", moment(detail.expires_at)
    if detail.reason:
        yield "reason", detail.reason
    if detail.code or detail.reply:
        yield "last reply", _reply(detail)
    if detail.route:
        yield "goes by", detail.ways
    yield "priority", detail.lane
    if detail.kind:
        yield "kind", detail.kind
    yield "attempts counted", detail.attempts
    if detail.rescues:
        yield "rescues", f"{detail.rescues} (a worker or connection ended while it held this delivery)"
    yield "on uncertain", detail.on_uncertain
    if detail.marked_at is not None:
        yield "final dot", f"may have been sent since {moment(detail.marked_at)}"
    yield "size", f"{number(detail.size)} bytes" + (", needs SMTPUTF8" if detail.smtputf8 else "")
    if detail.downgraded:
        yield "form", "for ASCII addresses (RFC 6857); recipients with other addresses get the headers in UTF-8"
    if detail.batch:
        yield "batch", detail.batch
    if detail.key:
        yield "key", detail.key
    if detail.environment:
        yield "environment", detail.environment
    if detail.metadata:
        yield "metadata", detail.metadata
    if detail.redacted_at is not None:
        yield "redacted", moment(detail.redacted_at)


def _step(step: Step) -> Text:
    if isinstance(step, Attempt):
        return _attempt(step)
    return Text(safe(_event(step))) if isinstance(step, Event) else _change(step)


def _change(change: Entry) -> Text:
    note = f": {change.note}" if change.note else ""
    of = f" (one of {number(change.count)})" if change.count > 1 else ""
    what = f" {change.filters}" if change.action == operations.READ else ""
    return Text(safe(f"{change.action}{what} by {change.by}{of}{note}"))


def _event(event: Event) -> str:
    effect = f"; {event.suppressed} to the address is suppressed because of it" if event.suppressed else ""
    return f"{event}, by {event.source}{effect}"


def _pause(pause: Pause) -> str:
    if pause.automatic:
        words, now = operations.stopped, clock.utcnow()
        at = moment(pause.since)
        return (
            f"{pause}, by {words.who_paused(pause)} since {at}: {words.refusal(pause)} It is sent when the relay "
            f"accepts one of these, or after `outbox-resume`; {words.probe(pause, now)}"
        )
    reason = f": {pause.reason}" if pause.reason else ""
    end = f" until {moment(pause.until)}" if pause.until else ""
    return f"{pause}, by {pause.by} since {moment(pause.since)}{end}{reason}"


def _reply(said: Detail | Attempt) -> str:
    return " ".join(str(part) for part in (said.code, said.enhanced, said.reply) if part)


def _attempt(attempt: Attempt) -> Text:
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
        facts.append("made after the lease was lost")
    words = Text.assemble(
        (attempt.verdict, colour), "  ", safe(_reply(attempt)), ("  (" + ", ".join(facts) + ")", "dim")
    )
    if attempt.note:
        words.append(f"  {safe(attempt.note)}", style="italic")
    return words
