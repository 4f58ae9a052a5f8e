"""What the kinds of reports have in common: addresses and times as they are written, ids, the tie to what was sent."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from outbox.delivery.reply import Reply, printable
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.bounce_address import Named
from outbox.message.reports.parts import Mail, first, values

SOURCE = "report"
"""`ReportedEvent.source` of all mail."""

MOST_RECIPIENTS = 200
"""Events of one report; more is not what mail servers write."""

_ADDRESS = re.compile(r"[^\s<>,;:@\"]+@[^\s<>,;:@\"]+|\"[^\"\r\n]{1,62}\"@[^\s<>,;:@\"]+")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}>")
_HIDDEN = re.compile(r"redact|removed|anonym|^\W*x{3,}|\*{3}|^\[", re.IGNORECASE)
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_MOST_ADDRESS = 320
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_DELIVERED_TO = (  # what mail servers and mailboxes say about the address that a mail came to
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "x-envelope-to",
    "x-delivered-to",
    "x-rcpt-to",
    "to",
    "resent-to",
    "cc",
)


@dataclass(frozen=True, slots=True)
class Tie:
    """What ties a report to what was sent. `named`: a valid token's; None: nothing is proven."""

    named: Named | None
    message_id: str | None  # of the message that is reported about
    report: str  # which report this is: its Message-ID, or a digest of it


def tokens_in(mail: Mail, to: str = "") -> list[str]:
    """Where a token may stand. It is signed: what matters is that the reporter knows it."""
    found = [to, *values(mail.fields, *_DELIVERED_TO)]
    for part in mail.of_type("message/delivery-status", "message/global-delivery-status"):
        found += [first(block, "original-envelope-id") for block in part.blocks]
    for part in mail.of_type("message/feedback-report"):
        found += [first(block, "original-mail-from") for block in part.blocks]
    found += values(mail.quoted, "return-path", "x-envelope-from", "x-original-return-path", "sender")
    return found


def event(
    tie: Tie,
    type: EventType,
    recipient: str | None,
    *,
    at: datetime | None = None,
    reply: Reply | None = None,
    category: str | None = None,
) -> ReportedEvent:
    """The event, with an id that is the same when the same report comes again."""
    named = tie.named or Named()
    what = (tie.report, type, category, recipient, named.delivery_id, named.message_pk)
    digest = hashlib.sha256("\0".join(map(str, what)).encode("utf-8", "surrogatepass")).hexdigest()
    return ReportedEvent(
        type,
        SOURCE,
        digest,
        at=at,
        recipient=recipient,
        delivery_id=named.delivery_id,
        message_pk=named.message_pk,
        message_id=tie.message_id,
        reply=reply,
        proven=tie.named is not None,
        category=None if category is None else printable(category)[:100],
    )


def address_of(text: str) -> str | None:
    """The one address in a field's value ("rfc822; ann@example.org", "Ann <ann@example.org>").

    None: there is none, there are several, or it was hidden by the reporter.
    """
    kind, semicolon, typed = text.partition(";")
    if semicolon and "@" not in kind:
        text = typed
        if kind.strip().lower() == "utf-8":
            text = _ESCAPED.sub(_character, text)
    found = _ADDRESS.findall(text.rpartition("<")[2] if text.count("<") == 1 else text)
    if len(found) != 1 or len(found[0]) > _MOST_ADDRESS or not found[0].isprintable() or _HIDDEN.search(found[0]):
        return None
    return str(found[0])


def message_id_of(text: str) -> str | None:
    """The first Message-ID in a field's value, with its angle brackets."""
    found = _MESSAGE_ID.search(text)
    return found[0] if found is not None and found[0].isprintable() else None


def time_of(text: str) -> datetime | None:
    """A date as mail writes it; None: it is none, or can't be true."""
    try:
        at = parsedate_to_datetime(text[:100])
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if _EARLIEST < at < _LATEST else None


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else found[0]
