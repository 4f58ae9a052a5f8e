"""One mail that came back → what it reports. Which kind it is, the first that fits decides."""

from __future__ import annotations

import hashlib

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.bounce_address import BounceAddresses
from outbox.message.reports import automatic, complaint, other_forms, status
from outbox.message.reports.found import Tie, address_of, event, message_id_of, time_of, tokens_in
from outbox.message.reports.parts import Mail, UnreadableError, first, mail_of, values


def events(data: bytes, addresses: BounceAddresses | None = None, *, to: str = "") -> list[ReportedEvent]:
    """The events that a mail reports, at least one. Raises UnreadableError, and nothing else.

    `addresses`: verifies the token of the address that it came to, which is the proof. `to`: that address, where the
    mail server gives it beside the mail.
    """
    mail = mail_of(data)
    tie = Tie(
        addresses.read(tokens_in(mail, to)) if addresses is not None else None,
        _about(mail),
        message_id_of(first(mail.fields, "message-id")) or hashlib.sha256(data).hexdigest(),
    )
    if status.is_report(mail):
        found = [*status.read(mail, tie)]
    elif complaint.is_report(mail):
        found = [*complaint.read(mail, tie)]
    else:
        found = _of_words(mail, data, tie)
    if not found and tie.named is not None and automatic.is_from_a_server(mail):
        found = [event(tie, EventType.UNKNOWN, None, at=time_of(first(mail.fields, "date")))]
    if not found:
        raise UnreadableError(
            "there is no report in it: neither a delivery report (RFC 3464) nor a complaint (RFC 5965), nor does it "
            "say that a program has written it. People's replies belong to a mailbox that is read"
        )
    return found


def _of_words(mail: Mail, data: bytes, tie: Tie) -> list[ReportedEvent]:
    """A bounce in a form of its own, which only mail servers write, or an automatic reply."""
    found: list[ReportedEvent] = []
    if automatic.is_from_a_server(mail):
        found = [*other_forms.read(mail, data, tie)]
    if not found and automatic.is_reply(mail):
        sender = address_of(first(mail.fields, "from", "reply-to"))
        found = [event(tie, EventType.AUTORESPONDED, sender, at=time_of(first(mail.fields, "date")))]
    return found


def _about(mail: Mail) -> str | None:
    """The Message-ID of what it answers."""
    named = (*values(mail.quoted, "message-id"), *values(mail.fields, "in-reply-to", "references"))
    return next(filter(None, map(message_id_of, named)), None)
