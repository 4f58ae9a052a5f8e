"""Postmark's webhooks, which bring a user name and password.

https://postmarkapp.com/developer/webhooks/webhooks-overview
"""

from __future__ import annotations

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.settings import Settings
from outbox.web.events.incoming import Incoming, check_credentials
from outbox.web.events.payloads import (
    Object,
    address,
    angled,
    child,
    identity,
    moment,
    objects,
    parsed,
    reply,
    text,
    word,
)

_BOUNCES = {
    "Transient": EventType.DEFERRED,
    "AutoResponder": EventType.AUTORESPONDED,
    "AddressChange": EventType.AUTORESPONDED,
    "ChallengeVerification": EventType.AUTORESPONDED,
    "SpamComplaint": EventType.COMPLAINED,
    "Unsubscribe": EventType.UNSUBSCRIBED,
    "Subscribe": None,
    "OpenRelayTest": None,
    "InboundError": None,
}
"""The kinds of its Bounce that are not BOUNCED."""

_SOFT = frozenset({"SoftBounce", "DnsError"})
"""Of those that are, what it calls temporary."""

ECHO = "message-id"
"""The metadata in which the outbox has it hand back the Message-ID: by SMTP it tells no id of its own."""


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The event of a request. Raises RefusedError."""
    check_credentials(incoming, settings.postmark_credentials)
    found = ((one, _type(one)) for one in objects(parsed(incoming.body)))
    return [_event(one, type) for one, type in found if type is not None]


def _type(one: Object) -> EventType | None:
    match one.get("RecordType"):
        case "Delivery":
            return EventType.DELIVERED
        case "Bounce":
            return _BOUNCES.get(str(one.get("Type")), EventType.BOUNCED)
        case "SpamComplaint":
            return EventType.COMPLAINED
        case "SubscriptionChange":  # bounces and complaints, which lead to one, too, come as such
            wished = one.get("SuppressionReason") == "ManualSuppression" and one.get("Origin") == "Recipient"
            return EventType.UNSUBSCRIBED if wished and one.get("SuppressSending") is True else None
        case "Open":
            return EventType.OPENED
        case "Click":
            return EventType.CLICKED
    return None


def _event(one: Object, type: EventType) -> ReportedEvent:
    record, recipient = one.get("RecordType"), one.get("Email") or one.get("Recipient")
    at = next((one[name] for name in ("DeliveredAt", "BouncedAt", "ChangedAt", "ReceivedAt") if one.get(name)), None)
    unique = one.get("ID") or identity(one.get("MessageID"), at, recipient, one.get("OriginalLink"))
    return ReportedEvent(
        type=type,
        source="postmark",
        event_id=identity(record, unique),
        at=moment(at),
        recipient=address(recipient),
        relay_id=text(one.get("MessageID")),
        message_id=angled(child(one, "Metadata").get(ECHO)),
        reply=reply(one.get("Details")) if record in {"Bounce", "Delivery"} else None,
        proven=True,
        soft=record == "Bounce" and one.get("Type") in _SOFT,
        category=word(one.get("Type")) if record == "Bounce" else None,
    )
