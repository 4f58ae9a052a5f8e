"""The filter in the address bar and in the forms: plain words that stay the same from page to page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from flask import abort, current_app

from outbox.operations import Filter, parse_duration
from outbox.states import Lane, State
from outbox.web.database import bound

Words = dict[str, str]

FIELDS = (
    "state",
    "recipient",
    "domain",
    "kind",
    "error",
    "subject",
    "priority",
    "older",
    "newer",
    "search",
    "transport",
    "reason",
    "environment",
)

EVERY = "*"
"""The word for all environments; without a word it is the application's own."""

AGES = {"10m": "10 minutes", "1h": "1 hour", "6h": "6 hours", "1d": "1 day", "7d": "7 days", "30d": "30 days"}
"""What the forms offer; the address takes any."""

MAX_WORD = 400


def words(values: Mapping[str, str]) -> Words:
    """The filter's words among `values`, the empty ones left out."""
    asked = {name: values.get(name, "").strip()[:MAX_WORD] for name in FIELDS}
    return {name: word for name, word in asked.items() if word}


def to_filter(asked: Words) -> Filter:
    """`asked` as a value. Ends the request with 400 for a word that is none."""
    return Filter(
        states=_states(asked.get("state", "")),
        recipient=asked.get("recipient"),
        domain=asked.get("domain"),
        kind=asked.get("kind"),
        error=asked.get("error"),
        subject=asked.get("subject"),
        priority=_priority(asked.get("priority")),
        older_than=age(asked.get("older")),
        newer_than=age(asked.get("newer")),
        search=asked.get("search"),
        transport=asked.get("transport"),
        reason=asked.get("reason"),
        environment=environment(asked.get("environment")),
    )


def own_environment() -> str:
    """The application's, as it is stamped on its messages."""
    found: str = bound().settings(current_app).environment
    return found


def environment(word: str | None) -> str | None:
    """The environment that the filter means; None: all."""
    return None if word == EVERY else word or own_environment()


def cursor(text: str | None) -> int | None:
    """The delivery id below which a page begins. Ends the request with 400 for what is no number."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        abort(400, f"{text[:40]!r} is not the number of a mail.")
    return int(text)


def _states(text: str) -> tuple[State, ...]:
    """One state, or several with commas between."""
    try:
        return tuple(State(word.strip()) for word in text.split(",") if word.strip())
    except ValueError:
        abort(400, f"{text[:40]!r} is not a state. There are: {', '.join(State)}.")


def _priority(text: str | None) -> Lane | None:
    if text is None:
        return None
    try:
        return Lane(text)
    except ValueError:
        abort(400, f"{text[:40]!r} is not a priority. There are: {', '.join(Lane)}.")


def age(text: str | None) -> timedelta | None:
    """The time that `2h` means. Ends the request with 400 for what is none."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        abort(400, f"{error}.")
