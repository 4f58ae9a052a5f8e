"""SendGrid's signed event webhook: ECDSA over the time stamp and the body, as they came.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import timedelta
from typing import Any

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.settings import Settings
from outbox.web.events.extra import needed
from outbox.web.events.incoming import Incoming, RefusedError, check_age
from outbox.web.events.payloads import (
    Object,
    address,
    angled,
    identity,
    moment,
    objects,
    parsed,
    reply,
    text,
    timestamp,
    word,
)

_SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
_LONGEST_AGE = timedelta(hours=25)  # it repeats for a day

_TYPES = {
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "bounce": EventType.BOUNCED,
    "dropped": EventType.BOUNCED,
    "spamreport": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "group_unsubscribe": EventType.UNSUBSCRIBED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
}
_AFTER_ID = re.compile(r"\.(?=filter|recv)")  # the name of the machine that took it follows the id of its 250


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The events of a request. Raises RefusedError."""
    sent = incoming.header(_TIMESTAMP)
    if not _is_signed(sent, incoming.body, incoming.header(_SIGNATURE), settings.sendgrid_public_keys):
        raise RefusedError("its signature is missing or wrong: switch on the signed event webhook")
    at = timestamp(sent)
    if at is None:
        raise RefusedError("it has no time stamp")
    check_age(at, incoming.now, _LONGEST_AGE)
    return [
        _event(one, _TYPES[name]) for one in objects(parsed(incoming.body)) if (name := str(one.get("event"))) in _TYPES
    ]


def _event(one: Object, type: EventType) -> ReportedEvent:
    said = one.get("response") if type in {EventType.DELIVERED, EventType.DEFERRED} else one.get("reason")
    unique = text(one.get("sg_event_id")) or identity(
        *(one.get(name) for name in ("sg_message_id", "event", "timestamp"))
    )
    return ReportedEvent(
        type=type,
        source="sendgrid",
        event_id=identity(unique),
        at=moment(one.get("timestamp")),
        recipient=address(one.get("email")),
        relay_id=_relay_id(one.get("sg_message_id")),
        message_id=angled(one.get("smtp-id")),
        reply=reply(said, enhanced=one.get("status")),
        proven=True,
        soft=one.get("event") == "bounce" and one.get("type") == "blocked",
        category=word(
            "dropped" if one.get("event") == "dropped" else one.get("type"), one.get("bounce_classification")
        ),
    )


def _relay_id(message_id: Any) -> str | None:
    found = text(message_id)
    return None if found is None else _AFTER_ID.split(found)[0]


def _is_signed(sent: str, body: bytes, signature: str, keys: tuple[str, ...]) -> bool:
    needed("OUTBOX_SENDGRID_PUBLIC_KEY")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for encoded in keys:
        try:
            key = serialization.load_der_public_key(base64.b64decode(encoded))
            if isinstance(key, ec.EllipticCurvePublicKey):
                signed = sent.encode("utf-8", "replace") + body
                key.verify(base64.b64decode(signature, validate=True), signed, ec.ECDSA(hashes.SHA256()))
                return True
        except (InvalidSignature, binascii.Error, ValueError):
            continue
    return False
