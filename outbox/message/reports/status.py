"""Delivery status notifications (RFC 3464), also those with addresses in UTF-8 (RFC 6533)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from outbox.delivery.reply import Reply, printable
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.reports.found import MOST_RECIPIENTS, Tie, address_of, event, time_of
from outbox.message.reports.parts import Fields, Mail, first

_TYPES = ("message/delivery-status", "message/global-delivery-status")

_OF_ACTION = {  # of which the last two keep their name as the category
    "failed": EventType.BOUNCED,
    "delayed": EventType.DEFERRED,
    "delivered": EventType.DELIVERED,
    "relayed": EventType.DELIVERED,
    "expanded": EventType.DELIVERED,
}
_OF_CLASS = {"5": EventType.BOUNCED, "4": EventType.DEFERRED, "2": EventType.DELIVERED}  # where Action is missing
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])")
_STATUS_AT_START = re.compile(r"[ -]*#?([245]\.\d{1,3}\.\d{1,3})(?:[\s:;,]+|$)")


def is_report(mail: Mail) -> bool:
    """Whether it has a part of this kind."""
    return any(True for _ in mail.of_type(*_TYPES))


def read(mail: Mail, tie: Tie) -> Iterator[ReportedEvent]:
    """One event for each recipient."""
    count = 0
    for part in mail.of_type(*_TYPES):
        for block in part.blocks:
            if not first(block, "final-recipient", "original-recipient", "action"):
                continue  # that of the whole message
            if (count := count + 1) > MOST_RECIPIENTS:
                return
            yield _event(block, tie, time_of(first(mail.fields, "date")))


def _event(block: Fields, tie: Tie, reported: datetime | None) -> ReportedEvent:
    action = first(block, "action").partition(" ")[0].partition("(")[0].strip().lower()
    status = _STATUS.search(first(block, "status"))
    type = _OF_ACTION.get(action) or _OF_CLASS.get(status[1][0] if status is not None else "", EventType.UNKNOWN)
    recipients = (address_of(first(block, name)) for name in ("original-recipient", "final-recipient"))
    return event(
        tie,
        type,
        next(filter(None, recipients), None),
        at=time_of(first(block, "last-attempt-date")) or reported,
        reply=_reply(first(block, "diagnostic-code"), status[1] if status is not None else None),
        category=action if action in {"relayed", "expanded"} else None,
    )


def _reply(diagnostic: str, status: str | None) -> Reply | None:
    """The reply of the server that refused it: "smtp; 550 5.1.1 no such user" (RFC 3464 §2.3.6).

    A status of its own that says no more than "permanent" gives way to the server's.
    """
    text = diagnostic.partition(";")[2] if re.match(r"\s*[\w-]+\s*;", diagnostic) else diagnostic
    text = text.strip()
    code = _CODE.search(text[:80])
    said = None
    if code is not None and not text[: code.start()].strip(" (<[#"):
        text = text[code.end() :]
    if (found := _STATUS_AT_START.match(text)) is not None:
        said, text = found[1], text[found.end() :]
    if said is not None and (status is None or (status.endswith(".0.0") and said[0] == status[0])):
        status = said
    if not text.strip() and status is None and code is None:
        return None
    return Reply(int(code[1]) if code is not None else None, status, printable(" ".join(text.split())))
