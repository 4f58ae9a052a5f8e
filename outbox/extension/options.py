"""The arguments of `enqueue` besides the message itself, checked before anything is written."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from outbox.core.errors import MessageError
from outbox.delivery.states import Lane, OnUncertain
from outbox.settings import Settings
from outbox.store.posting import Posting

LONGEST_KEY = 255  # characters
LONGEST_KIND = 64
LONGEST_METADATA = 64 * 1024  # characters of JSON

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it: not after an escaped backslash
_E = TypeVar("_E", bound=StrEnum)
_AWARE = "Give an aware datetime, such as datetime.now(UTC) + timedelta(hours=1)."


def posting(
    settings: Settings,
    *,
    key: str | None = None,
    priority: str = Lane.NORMAL,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    kind: str | None = None,
    on_uncertain: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Posting:
    """How the message is to be queued. Raises MessageError with the field, what is wrong and the remedy."""
    kind = _label("kind", kind, LONGEST_KIND)
    send_at, expires_at = _instant("send_at", send_at), _instant("expires_at", expires_at)
    if send_at is not None and expires_at is not None and expires_at <= send_at:
        raise MessageError(
            "expires_at", f"{expires_at} is not after send_at, {send_at}", "Let the message expire after it is due."
        )
    return Posting(
        environment=settings.environment,
        key=_label("key", key, LONGEST_KEY),
        kind=kind,
        lane=_choice("priority", priority, Lane),
        send_at=send_at,
        expires_at=expires_at,
        max_age=settings.max_age_seconds,
        on_uncertain=(
            settings.on_uncertain_for(kind)
            if on_uncertain is None
            else _choice("on_uncertain", on_uncertain, OnUncertain)
        ),
        metadata=_metadata(metadata),
    )


def _label(field: str, value: Any, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise MessageError(field, f"is of type {type(value).__name__}", "Give a text, or leave it out.")
    if not value or not value.isprintable() or value != value.strip():
        raise MessageError(
            field,
            f"is {value[:80]!r}: empty, with a control character, or with spaces around it",
            "Give printable text without spaces around it, or leave it out.",
        )
    if len(value) > longest:
        raise MessageError(field, f"has {len(value)} characters", f"Give at most {longest}, a hash of it for instance.")
    return value


def _choice(field: str, value: Any, choices: type[_E]) -> _E:
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(str(choice) for choice in choices)
        raise MessageError(field, f"is {str(value)[:80]!r}, which does not exist", f"Choose from {known}.") from None


def _instant(field: str, value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise MessageError(field, f"is of type {type(value).__name__}, not a datetime", _AWARE)
    if value.utcoffset() is None:
        raise MessageError(field, f"{value} is naive: nobody knows which time zone it is in", _AWARE)
    try:
        instant = value.astimezone(UTC)
    except OverflowError:
        raise MessageError(field, f"{value} is out of range", "Give a date that databases know.") from None
    if not 1970 <= instant.year <= 9998:
        raise MessageError(field, f"{value} is out of range", "Give a date between 1970 and 9998.")
    return instant


def _metadata(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    remedy = "Give a dictionary of texts, numbers, truth values, None, lists and dictionaries, with texts as keys."
    if not isinstance(value, dict):
        raise MessageError("metadata", f"is of type {type(value).__name__}", remedy)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise MessageError("metadata", f"cannot be written as JSON ({problem})", remedy) from None
    if len(text) > LONGEST_METADATA:
        raise MessageError("metadata", f"has {len(text):,} characters as JSON", f"Give at most {LONGEST_METADATA:,}.")
    kept: dict[str, Any] = json.loads(text)  # a copy: what the caller changes later is not what was enqueued
    if _NUL.search(text):
        raise MessageError("metadata", "holds a NUL character", "Take it out: not every database can store it.")
    return kept
