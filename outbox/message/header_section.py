"""The header section of a message: who, when, what, and the headers that the application adds.

Decisions that a reader may wonder about:

- `extra_headers` may replace Date, Message-ID, Sender, Reply-To and Auto-Submitted (None takes the last one away). What
  the message has a field for, and what MIME needs, is refused there. Bcc is in the envelope only.
- A field that is not ASCII goes in encoded words if it is unstructured, in a phrase if it holds addresses, and is
  refused if programs read it (`program_headers.py`).
- The sender's name is read from a string, in which Flask-Mail has already put it together with the address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from outbox.core.errors import AddressError, MessageError, MissingFieldError
from outbox.message import extra_headers, message_ids
from outbox.message.addresses import Mailbox, is_pair, mailbox_of, parse_list, sender_of, unique_mailboxes
from outbox.message.coerce import is_empty, items_of, kind_of, plain, text_of
from outbox.message.draft import Draft
from outbox.message.header_encoding import clean_text, fold, unstructured
from outbox.message.program_headers import is_for_programs
from outbox.message.received import decoded, unfolded

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_COMMENT = re.compile(r"\([^()]*\)")
_DATE = re.compile(
    rf"(?:({'|'.join(_DAYS)}), )?\d{{1,2}} (?:{'|'.join(_MONTHS)}) (?:19|[2-9]\d)\d\d \d\d:\d\d(?::\d\d)?"
    r" (?:[+-](?:0\d|1[0-4])[0-5]\d|GMT|UTC?|Z)",
    re.IGNORECASE,
)
_SUBJECT_LENGTH = 998  # characters
_AUTOMATIC = ("Auto-Submitted", "auto-generated", b"Auto-Submitted: auto-generated\r\n")


@dataclass(slots=True)
class Header:
    """A header section in the making."""

    sender: Mailbox
    recipients: tuple[str, ...] = ()  # of the envelope
    subject: str = ""
    message_id: str = ""
    dated: bool = False  # the Date was given
    fields: list[tuple[str, str, bytes]] = field(default_factory=list)  # name, value as people read it, wire form
    addresses: list[tuple[str, str]] = field(default_factory=list)  # (field in lower case, address)

    def wire(self) -> bytes:
        """All fields as they are sent, CRLF after each line."""
        return b"".join([line for _, _, line in self.fields])

    def add(self, name: str, value: str, encoded: str | None = None, label: str | None = None) -> None:
        """A field; `encoded` is its value on the wire where that differs, `label` what the caller calls it."""
        self.fields.append((name, value, fold(name, value if encoded is None else encoded, label)))

    def add_addresses(self, name: str, mailboxes: Iterable[Mailbox]) -> None:
        """An address field, if there are any, and the addresses for look-up."""
        mailboxes = unique_mailboxes(mailboxes)
        if not mailboxes:
            return
        if len(mailboxes) == 1 and not mailboxes[0].name:  # most
            self.add(name, mailboxes[0].address)
        else:
            self.add(name, ", ".join(map(str, mailboxes)), ", ".join([mailbox.wire for mailbox in mailboxes]))
        self.note(name, mailboxes)

    def note(self, name: str, mailboxes: Iterable[Mailbox]) -> None:
        """Addresses for look-up only."""
        self.addresses += [(name.lower(), mailbox.envelope) for mailbox in mailboxes]


def header_of(draft: Draft, default_sender: str | tuple[str, str] | None, now: datetime, unique: str) -> Header:
    """The header section of `draft`. Raises MessageError."""
    extra = extra_headers.extra_headers(draft)
    own = {name.lower(): value or "" for name, value in extra if name.lower() in extra_headers.ONCE}
    to, cc, bcc = _mailboxes(draft.recipients, "recipients"), _mailboxes(draft.cc, "cc"), _mailboxes(draft.bcc, "bcc")
    header = Header(author_of(draft, default_sender))
    header.recipients = envelope_of(draft, [*to, *cc, *bcc])
    header.subject = _subject(draft)
    header.message_id = own.get("message-id") or message_ids.chosen(draft, header.sender.domain, unique)

    header.dated = "date" in own or draft.date is not None
    header.add(
        "Date",
        given_date(own["date"], "extra_headers['Date']") if "date" in own else _date(plain(draft.date, "date"), now),
    )
    header.add_addresses("From", [header.sender])
    header.add_addresses("To", to)
    if not to and not cc:
        header.add("To", "undisclosed-recipients:;")
    if cc:
        header.add_addresses("Cc", cc)
    if bcc:
        header.note("bcc", bcc)
    if not is_empty(draft.reply_to) and "reply-to" not in own:
        header.add_addresses("Reply-To", _reply_to(draft.reply_to))
    if header.subject:
        header.add("Subject", header.subject, unstructured("Subject", header.subject))
    header.add("Message-ID", header.message_id)
    if "auto-submitted" not in own:
        header.fields.append(_AUTOMATIC)
    for name, value in extra:
        if value is not None and name.lower() not in {"date", "message-id"}:
            _add_extra(header, name, value)
    return header


def author_of(draft: Draft, default_sender: str | tuple[str, str] | None) -> Mailbox:
    """The draft's sender, or the default. Raises MessageError."""
    sender = default_sender if is_empty(draft.sender) else draft.sender
    if is_empty(sender):
        raise MissingFieldError(
            "sender", "is missing and there is no default", "Give the message a sender=, or set MAIL_DEFAULT_SENDER."
        )
    return sender_of(sender)


def envelope_of(draft: Draft, found: Iterable[Mailbox] | None = None) -> tuple[str, ...]:
    """To, Cc and Bcc, each address once, or `send_to` where that is given. Raises MessageError.

    `found`: the three, read already: an iterator can be read only once.
    """
    if draft.send_to is not None:
        found = _mailboxes(draft.send_to, "send_to")
    elif found is None:
        found = [one for name in ("recipients", "cc", "bcc") for one in _mailboxes(getattr(draft, name), name)]
    recipients = tuple(dict.fromkeys([mailbox.envelope for mailbox in found]))
    if not recipients:
        raise MissingFieldError("recipients", "is empty, and so are cc and bcc", "Give at least one address.")
    return recipients


def _add_extra(header: Header, name: str, value: str) -> None:
    lower, label = name.lower(), f"extra_headers[{name!r}]"
    if lower in extra_headers.ADDRESSES:
        mailboxes = parse_list(value, label)
        if not mailboxes or (lower == "sender" and len(mailboxes) > 1):
            raise AddressError(
                label, f"{value[:120]!r} is not an address as it should be", "Give one like a@example.org."
            )
        header.add_addresses(name, mailboxes)
    elif is_for_programs(lower):
        header.add(name, value, label=label)
    else:
        header.add(name, value, unstructured(name, value), label)


def _mailboxes(value: object, name: str) -> list[Mailbox]:
    if is_empty(value):
        return []
    return [mailbox_of(element, f"{name}[{index}]") for index, element in enumerate(items_of(value, name))]


def _reply_to(value: object) -> list[Mailbox]:
    value = plain(value, "reply_to")
    if isinstance(value, list) and not is_pair(value):
        return _mailboxes(value, "reply_to")
    return [mailbox_of(value, "reply_to")]


def _subject(draft: Draft) -> str:
    """The subject as people read it: that of a received message may be folded, and in encoded words."""
    given: object = draft.subject
    subject = "" if given is None else text_of(given, "subject")
    if "\n" in subject and subject.partition("\n")[0].strip():
        subject = unfolded(subject)
    subject = clean_text(decoded(subject), "subject")
    if len(subject) > _SUBJECT_LENGTH:
        raise MessageError("subject", f"is longer than {_SUBJECT_LENGTH} characters", "Shorten it.")
    return subject


def given_date(value: str, label: str) -> str:
    """`value` as RFC 5322 §3.3 writes it, without comments. Raises MessageError."""
    value = " ".join(_COMMENT.sub(" ", value).split())
    found = _DATE.fullmatch(value)
    moment = None
    if found is not None:
        with suppress(ValueError, IndexError, TypeError):
            moment = parsedate_to_datetime(value)
    if found is None or moment is None or (found[1] or _DAYS[moment.weekday()]).title() != _DAYS[moment.weekday()]:
        raise MessageError(
            label,
            f"{value[:80]!r} is not a date of RFC 5322 §3.3, or its day of the week is another",
            "Use email.utils.format_datetime.",
        )
    return re.sub(r" (?:GMT|UTC?|Z)$", " +0000", value)


def _date(given: object, now: datetime) -> str:
    """A date of RFC 5322 §3.3 in UTC, from seconds since 1970 or from `now`."""
    if given is None:
        moment = now
    elif isinstance(given, int | float) and not isinstance(given, bool):
        try:
            moment = datetime.fromtimestamp(given, UTC)
        except (OverflowError, ValueError, OSError):
            raise MessageError("date", f"{given!r} is out of range", "Give seconds since 1970, as time.time().")
    else:
        raise MessageError("date", f"is {kind_of(given)}", "Give seconds since 1970, as time.time().")
    return date_value(moment)


def date_value(moment: datetime) -> str:
    """A date of RFC 5322 §3.3, always 31 characters. Raises MessageError for a time without zone, or before 1900."""
    if moment.tzinfo is None:
        raise MessageError("now", "has no time zone", "Give an aware datetime, such as clock.utcnow().")
    moment = moment.astimezone(UTC)
    if moment.year < 1900:
        raise MessageError("date", f"is in the year {moment.year}", "Mail has dates from 1900 on (RFC 5322 §3.3).")
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    time = f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"
    return f"{day}, {moment.day:02d} {month} {moment.year} {time} +0000"
