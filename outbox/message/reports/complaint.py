"""Complaints (RFC 5965, "ARF"), and Microsoft's, which are messages with the recipient in a field of their own."""

from __future__ import annotations

from collections.abc import Iterator

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.reports.found import Tie, address_of, event, time_of
from outbox.message.reports.parts import Mail, first, values

_TYPE = "message/feedback-report"
_MICROSOFT = "x-hmxmroriginalrecipient"  # in the message that Outlook.com gives back (JMRP)

_OF_FEEDBACK = {
    "abuse": EventType.COMPLAINED,
    "fraud": EventType.COMPLAINED,
    "virus": EventType.COMPLAINED,
    "other": EventType.COMPLAINED,
    "opt-out": EventType.UNSUBSCRIBED,
    "opt-out-list": EventType.UNSUBSCRIBED,
}  # "not-spam", "auth-failure" and "dmarc" are no complaint of a recipient


def is_report(mail: Mail) -> bool:
    """Whether it is one."""
    return any(True for _ in mail.of_type(_TYPE)) or bool(first(mail.quoted, _MICROSOFT))


def read(mail: Mail, tie: Tie) -> Iterator[ReportedEvent]:
    """One event for the recipient who complained, whom many reporters hide: the tie has to tell then."""
    found = next((block for part in mail.of_type(_TYPE) for block in part.blocks), ())
    feedback = first(found, "feedback-type").strip().lower() or ("abuse" if not found else "")
    named = (
        *values(found, "original-rcpt-to", "removal-recipient"),
        *values(mail.quoted, _MICROSOFT, "x-original-to", "delivered-to", "to"),
    )
    yield event(
        tie,
        _OF_FEEDBACK.get(feedback, EventType.UNKNOWN),
        next(filter(None, map(address_of, named)), None),
        at=time_of(first(found, "arrival-date", "received-date")) or time_of(first(mail.fields, "date")),
        category=feedback or None,
    )
