"""The headers that the application adds (`extra_headers`): which it may, and their values, checked."""

from __future__ import annotations

from outbox.core.errors import MessageError
from outbox.message.coerce import pairs_of, text_of
from outbox.message.draft import Draft
from outbox.message.header_encoding import check_name, clean_text
from outbox.message.message_ids import check_message_id
from outbox.message.program_headers import for_programs, is_for_programs
from outbox.message.received import decoded, unfolded

_FIELDS = {"from": "sender", "to": "recipients", "cc": "cc", "bcc": "bcc", "subject": "subject", "resent-bcc": "bcc"}
ADDRESSES = frozenset(
    "sender reply-to disposition-notification-to return-receipt-to errors-to mail-followup-to mail-reply-to"  # noqa: SIM905
    " resent-from resent-sender resent-to resent-cc".split()
)
"""Fields, in lower case, that hold addresses."""

ONCE = frozenset(
    "date message-id sender reply-to in-reply-to references auto-submitted list-id list-unsubscribe"  # noqa: SIM905
    " list-unsubscribe-post".split()
)
"""Fields that a message has once at most, in whatever letters."""


def extra_headers(draft: Draft) -> list[tuple[str, str | None]]:
    """The extra headers with checked names and values as people read them; None only for Auto-Submitted.

    A structured field that is empty, as one of a received message that has none, is left out.
    """
    extra: list[tuple[str, str | None]] = []
    for key, value in pairs_of(draft.extra_headers, "extra_headers"):
        name = check_name(text_of(key, "extra_headers"), "extra_headers")
        lower, label = name.lower(), f"extra_headers[{name!r}]"
        _check_ours(lower, label)
        if lower in ONCE and any(other.lower() == lower for other, _ in extra):
            raise MessageError(label, "is given twice, in other letters", "Give it once.")
        if value is None and lower == "auto-submitted":
            extra.append((name, None))
        elif value is not None or not _is_structured(lower):
            text = _value(lower, text_of(value, label), label)
            if text or not _is_structured(lower):
                extra.append((name, text))
    return extra


def _is_structured(lower: str) -> bool:
    return lower in ADDRESSES or is_for_programs(lower)


def _value(lower: str, text: str, label: str) -> str:
    if lower in ADDRESSES:
        return clean_text(unfolded(text.strip()), label)
    if is_for_programs(lower):
        text = for_programs(text, label)
        return check_message_id(text, label) if lower == "message-id" and text else text
    if "\n" in text and text.partition("\n")[0].strip():
        text = unfolded(text)
    return clean_text(decoded(text), label)


def _check_ours(lower: str, label: str) -> None:
    if lower in _FIELDS:
        raise MessageError(
            label, "would stand in the message twice", f"Use the message's {_FIELDS[lower]} instead of the header."
        )
    if lower == "mime-version" or (lower.startswith("content-") and lower != "content-language"):
        raise MessageError(label, "is written by the outbox itself", "Leave it out, or put it on an attachment.")
