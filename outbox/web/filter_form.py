"""The filter in the address bar and in the forms: plain words that stay the same from page to page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import abort

from outbox.core import clock
from outbox.delivery.reported import EventType
from outbox.delivery.states import Lane, State
from outbox.operations import Filter, Waits, domain_instead, parse_duration, parse_moment
from outbox.web.current import settings

Words = dict[str, str]
Link = dict[str, Any]
"""Of an address: what `url_for` takes."""

FIELDS = (
    "state",
    "recipient",
    "domain",
    "kind",
    "error",
    "subject",
    "priority",
    "older-than",
    "since",
    "search",
    "transport",
    "reason",
    "environment",
    "waits",
    "from",
    "until",
    "metadata",
    "event",
    "batch",
    "order",
)

LABELS = {
    "state": "State",
    "recipient": "Recipient",
    "domain": "Recipient's domain",
    "kind": "Kind",
    "error": "Error",
    "subject": "Subject",
    "priority": "Priority",
    "older-than": "Enqueued more than … ago",
    "since": "Last change within",
    "search": "Anywhere",
    "transport": "Transport",
    "reason": "Reason",
    "environment": "Environment",
    "waits": "List",
    "from": "Enqueued from (UTC)",
    "until": "Enqueued until (UTC)",
    "metadata": "Metadata",
    "event": "Reported event",
    "batch": "Batch",
    "order": "Order",
}
"""What people call them."""

OLDEST = "oldest"

EVERY = "*"
"""The word for all environments; without a word it is the application's own."""

AGES = {"10m": "10 minutes", "1h": "1 hour", "6h": "6 hours", "1d": "1 day", "7d": "7 days", "30d": "30 days"}
"""What the forms offer; the address takes any."""

MAX_WORD = 400
MAX_LIST = 2_000


def words(values: Mapping[str, str]) -> Words:
    """The filter's words among `values`, the empty ones left out."""
    asked = {name: values.get(name, "").strip()[:MAX_WORD] for name in FIELDS}
    return {name: word for name, word in asked.items() if word}


def listed(asked: Words) -> str | None:
    """The list with this filter as one word, for the pages of its mail: they lead back to it, and to the next."""
    return urlencode(asked) or None


def of_list(word: str | None) -> Words:
    """The filter of the list that `listed` wrote down."""
    return words(dict(parse_qsl((word or "")[:MAX_LIST])))


def place(values: Mapping[str, str]) -> Words:
    """The words of an address that say which page of a list it is."""
    return {name: values[name][:MAX_LIST] for name in ("before", "trail") if values.get(name)}


def kept(values: Mapping[str, str]) -> Link:
    """What the page of one message needs from page to page: its list, and whose messages may be changed there."""
    return {name: values[name][:MAX_LIST] for name in ("environment", "list") if values.get(name)}


def to_filter(asked: Words) -> Filter:
    """`asked` as a value. Ends the request with 400 for an invalid word."""
    waits = _waits(asked.get("waits"))
    return Filter(
        states=(State.QUEUED,) if waits else _states(asked.get("state", "")),
        recipient=asked.get("recipient"),
        domain=_domain(asked.get("domain")),
        kind=asked.get("kind"),
        error=asked.get("error"),
        subject=asked.get("subject"),
        priority=_priority(asked.get("priority")),
        older_than=age(asked.get("older-than")),
        since=age(asked.get("since")),
        search=asked.get("search"),
        transport=asked.get("transport"),
        reason=asked.get("reason"),
        batch=asked.get("batch"),
        environment=environment(asked.get("environment")),
        waits=waits,
        enqueued_from=moment(asked.get("from")),
        enqueued_until=moment(asked.get("until")),
        metadata=asked.get("metadata"),
        event=_event(asked.get("event")),
    )


def oldest_first(asked: Words) -> bool:
    """The order that is asked for."""
    return asked.get("order") == OLDEST


def own_environment() -> str:
    """The application's, as it is stamped on its messages."""
    found: str = settings().environment
    return found


def environment(word: str | None) -> str | None:
    """The environment that the filter means; None: all."""
    return None if word == EVERY else word or own_environment()


def note(form: Mapping[str, str]) -> str | None:
    """Why, in the words of the person who makes a change."""
    return form.get("note", "").strip() or None


def cursor(text: str | None) -> int | None:
    """The delivery id below which a page begins. Ends the request with 400 for what is no number."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        abort(400, f"{text[:40]!r} is not the number of a message.")
    return int(text)


def _states(text: str) -> tuple[State, ...]:
    """One state, or several with commas between."""
    try:
        return tuple(State(word.strip()) for word in text.split(",") if word.strip())
    except ValueError:
        abort(400, f"{text[:40]!r} is not a state. The states are: {', '.join(State)}.")


def _waits(text: str | None) -> Waits | None:
    if text is None:
        return None
    try:
        return Waits(text)
    except ValueError:
        abort(400, f"{text[:40]!r} is not a list of queued mail. The lists are: {', '.join(Waits)}.")


def _event(text: str | None) -> EventType | None:
    if text is None:
        return None
    try:
        return EventType(text)
    except ValueError:
        abort(400, f"{text[:40]!r} is not an event. The events are: {', '.join(EventType)}.")


def _domain(text: str | None) -> str | None:
    """Ends the request with 400 for an address."""
    if text is not None and (domain := domain_instead(text)) is not None:
        abort(
            400, f"{text[:80]!r} is an address, not a domain. Give its domain, {domain!r}, or search for a recipient."
        )
    return text


def moment(text: str | None) -> datetime | None:
    """The time that `2026-11-24` means. Ends the request with 400 for anything else."""
    if text is None:
        return None
    try:
        return parse_moment(text, clock.utcnow())
    except (ValueError, OverflowError):
        abort(400, f"{text[:40]!r} is not a date and time. Write 2026-11-24 or 2026-11-24T18:30 (UTC).")


def _priority(text: str | None) -> Lane | None:
    if text is None:
        return None
    try:
        return Lane(text)
    except ValueError:
        abort(400, f"{text[:40]!r} is not a priority. The priorities are: {', '.join(Lane)}.")


def age(text: str | None) -> timedelta | None:
    """The time that `2h` means. Ends the request with 400 for anything else."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        abort(400, f"{error}.")
