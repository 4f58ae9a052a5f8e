"""Times, spans and sizes as people read them, and what else the templates call."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, url_for
from markupsafe import Markup, escape

from outbox import operations
from outbox.core import clock
from outbox.delivery.states import Lane, State
from outbox.web import csrf, filter_form, rights

WORD = 30
"""Characters of a word that fit into a line."""

STATE_MEANS = {
    State.QUEUED: "waiting for a worker or for its next attempt",
    State.SENDING: "a worker is sending it right now",
    State.SENT: "the relay accepted it",
    State.FAILED: "no further attempt unless you requeue it",
    State.UNCERTAIN: "nobody can know whether the relay accepted it, so a person has to decide",
    State.CANCELLED: "a person stopped it",
}


def install(blueprint: Blueprint) -> None:
    """Offer these functions to the templates of `blueprint`, and to no others of the application."""
    blueprint.context_processor(lambda: dict(_CONTEXT))


def span(seconds: float | None) -> str:
    """A time in its two largest units, under a second in ms."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if 0 < seconds < 1 else operations.duration(seconds)


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """`3m ago`, or `in 3m` for what is to come."""
    if moment is None:
        return "–"
    seconds = ((now or clock.utcnow()) - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    words = operations.duration(abs(seconds) if abs(seconds) < 60 else abs(seconds) // 60 * 60)
    return f"{words} ago" if seconds > 0 else f"in {words}"


def utc(moment: datetime) -> str:
    """`2026-11-22 10:26:22 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def when(moment: datetime | None) -> Markup:
    """The relative time, with the exact one for machines and on hover."""
    if moment is None:
        return Markup("–")
    return _time(moment, ago(moment), title=utc(moment))


def exactly(moment: datetime | None) -> Markup:
    """The exact time and the relative one."""
    if moment is None:
        return Markup("–")
    return _time(moment, utc(moment), title=ago(moment), exact=True) + Markup(
        ' <span class="muted">({})</span>'
    ).format(ago(moment))


def since(moment: datetime | None) -> Markup:
    """How long ago, without "ago": for "paused for 3m"."""
    if moment is None:
        return Markup("–")
    return _time(moment, operations.duration(max(0.0, (clock.utcnow() - moment).total_seconds())), title=utc(moment))


def waits(row: operations.Row) -> str:
    """For what a queued message waits, unless it is paused: "due", "scheduled" or "next attempt"."""
    if row.due_at is None or row.due_at <= clock.utcnow():
        return "due"
    return "next attempt" if row.attempts or row.reason else "scheduled"


def utc_time(moment: datetime) -> Markup:
    """The exact time alone."""
    return _time(moment, utc(moment), title=utc(moment), exact=True)


def size(count: int) -> str:
    """Bytes in B, KB, MB (of 1,000)."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} KB"
    return f"{count / 1_000_000:.1f} MB"


def number(count: int) -> str:
    """`12,345`."""
    return f"{count:,}"


def capped(count: int, cap: int) -> str:
    """A count that was stopped above `cap`."""
    return f"over {cap:,}" if count > cap else f"{count:,}"


def code(text: str) -> Markup:
    """What stands between backticks as code, and behind it links to what its commands are about; all of it escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one that has no other: it is somebody's text
        return escape(text)
    said = Markup("").join(_command(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces))
    links = dict(found for command in pieces[1::2] if (found := _about(command)) is not None)
    return said + Markup("").join(Markup(' <a href="{}">{}</a>').format(link, words) for link, words in links.items())


def _command(text: str) -> Markup:
    """A command for a terminal; it breaks between its words only, unless one is longer than a line of a telephone."""
    words = (Markup("<span>{}</span>").format(word) if len(word) <= WORD else escape(word) for word in text.split(" "))
    return Markup("<code>{}</code>").format(Markup(" ").join(words))


def _about(command: str) -> tuple[str, str] | None:
    """The row or list that a command is about: its address, and words for the link; None where no page has it."""
    try:
        name, *options = shlex.split(command)
    except ValueError:
        return None
    if name == "outbox-list":
        address = _list_of(options)
        return None if address is None else (address, "Show these messages")
    if name == "outbox-resume" and len(options) == 2:
        place = pause_place(options[0].removeprefix("--"), options[1])
        return url_for(".pauses", _anchor=place), "Show this pause"
    if name in ("outbox-resume", "outbox-pause"):
        return url_for(".pauses"), "Show the pauses"
    if name == "outbox-mark-sent":
        return url_for(".mails", state=State.UNCERTAIN), "Show the uncertain messages"
    return None


def pause_place(what: str, name: str) -> str:
    """Where on the page of pauses one stands."""
    return re.sub(r"\s+", "_", f"{what}-{name}")


def _list_of(options: list[str]) -> str | None:
    """The list that the options of `outbox-list` mean; None where the pages have no word for one of them."""
    names = [name.removeprefix("--") for name in options[::2]]
    if len(options) % 2 or not set(names) <= set(filter_form.FIELDS):
        return None
    words: filter_form.Link = dict(zip(names, options[1::2], strict=True))
    return url_for(".mails", **words)


def sentence(text: str) -> str:
    """With a full stop, and a capital where its first word is a common one: an address stays as it is."""
    text = text.strip()
    first = text.partition(" ")[0].rstrip(",.:;")
    capital = first.isalpha() and first.islower()
    return (text[:1].upper() + text[1:] if capital else text) + ("" if text.endswith((".", "?", "!")) else ".")


def which(entry: operations.audit.Entry) -> str:
    """The messages that a change was about, as its history says it."""
    if not entry.filters:
        return ", ".join(f"message {id}" for id in entry.delivery_ids)
    words = re.sub(r"\bid=(\d+)(?![\d,])", r"message \1", entry.filters)
    return re.sub(r"\bid=([\d,]+)", lambda ids: "messages " + ids[1].replace(",", ", "), words)


def without(words: dict[str, str], name: str) -> dict[str, str]:
    """The filter without one of its words."""
    return {key: word for key, word in words.items() if key != name}


def ages(before: str, after: str) -> list[tuple[str, str]]:
    """The ages that a form offers, with words around."""
    return [(value, f"{before} {text} {after}".strip()) for value, text in filter_form.AGES.items()]


def _time(moment: datetime, text: str, *, title: str, exact: bool = False) -> Markup:
    if moment == clock.UNREADABLE:
        return Markup("unreadable")
    stamp = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mark = Markup(" data-exact") if exact else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(stamp, title, mark, text)


_CONTEXT: dict[str, Any] = {
    "now": clock.utcnow,
    "span": span,
    "when": when,
    "exactly": exactly,
    "since": since,
    "waits": waits,
    "utc_time": utc_time,
    "WAITS": tuple(operations.Waits),
    "utc": utc,
    "listed": filter_form.listed,
    "size": size,
    "number": number,
    "capped": capped,
    "code": code,
    "sentence": sentence,
    "which": which,
    "pause_place": pause_place,
    "without": without,
    "NO_KIND": operations.NO_KIND,
    "ages": ages,
    "lanes": [(lane, lane) for lane in Lane],
    "STATES": tuple(State),
    "STATE_MEANS": STATE_MEANS,
    "may": rights.may,
    "own_environment": filter_form.own_environment,
    "EVERY": filter_form.EVERY,
    "Right": rights.Right,
    "outbox_token": csrf.token,
    "OUTBOX_TOKEN_FIELD": csrf.FIELD,
}
