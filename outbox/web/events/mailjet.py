"""Mailjet's event API, whose URL holds a user name and password.

https://dev.mailjet.com/email/guides/webhooks/
"""

from __future__ import annotations

from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.settings import Settings
from outbox.web.events.incoming import Incoming, check_credentials
from outbox.web.events.payloads import Object, address, angled, identity, moment, objects, parsed, reply, text, word

_TYPES = {
    "sent": EventType.DELIVERED,  # the recipient's server took it
    "bounce": EventType.BOUNCED,
    "blocked": EventType.BOUNCED,
    "spam": EventType.COMPLAINED,
    "unsub": EventType.UNSUBSCRIBED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
}

_ENHANCED = {"user unknown": "5.1.1", "invalid domain": "5.1.2", "mailbox inactive": "5.2.1", "quota exceeded": "5.2.2"}
"""What its words stand for (RFC 3463): it tells no codes."""

ECHO_BRACKET = "<"
"""A CustomID that begins so is a Message-ID, which the outbox has it hand back."""


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The events of a request, one or a group. Raises RefusedError."""
    check_credentials(incoming, settings.mailjet_credentials)
    return [
        _event(one, _TYPES[name]) for one in objects(parsed(incoming.body)) if (name := str(one.get("event"))) in _TYPES
    ]


def _event(one: Object, type: EventType) -> ReportedEvent:
    name, relay_id = one.get("event"), text(one.get("MessageID")) or text(one.get("mj_message_id"))
    own = text(one.get("CustomID")) or ""
    return ReportedEvent(
        type=type,
        source="mailjet",
        event_id=identity(name, relay_id, one.get("time"), one.get("email"), one.get("url")),
        at=moment(one.get("time")),
        recipient=address(one.get("email")),
        relay_id=text(one.get("Message_GUID")) or relay_id,
        message_id=angled(own) if own.startswith(ECHO_BRACKET) else None,
        reply=_reply(one, type),
        proven=True,
        soft=type is EventType.BOUNCED and one.get("hard_bounce") is False,
        category=word(name if name == "blocked" else None, one.get("error_related_to") or one.get("source")),
    )


def _reply(one: Object, type: EventType) -> Reply | None:
    if type is EventType.DELIVERED:
        said = text(one.get("smtp_reply")) or ""
        return reply(said.removeprefix("sent (").removesuffix(")"))
    error = text(one.get("error"))
    enhanced = _ENHANCED.get(error or "") if one.get("hard_bounce") is True else None
    words = " ".join(part for part in (error, text(one.get("comment"))) if part)
    return reply(words, enhanced=enhanced)
