"""Mailgun's webhooks. Its signature is over a token and the time alone, not over the event.

So the token is the event's id here: whoever repeats a signature that was seen, with another event, tells nothing new.
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.settings import Settings
from outbox.web.events.incoming import Incoming, RefusedError, check_age, is_one_of
from outbox.web.events.payloads import (
    Object,
    address,
    angled,
    child,
    identity,
    moment,
    parsed,
    reply,
    text,
    timestamp,
    word,
)

_REFUSED = 406  # any other it repeats
_LONGEST_AGE = timedelta(hours=9)  # it repeats for eight hours

_TYPES = {
    "delivered": EventType.DELIVERED,
    "failed": EventType.BOUNCED,
    "complained": EventType.COMPLAINED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
}


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The event of a request. Raises RefusedError."""
    try:
        body = parsed(incoming.body)
    except RefusedError as error:
        raise RefusedError(f"{error}: Mailgun's legacy webhooks, which are forms, are not read", _REFUSED) from None
    body = body if isinstance(body, dict) else {}
    token = _token(child(body, "signature"), incoming, settings.mailgun_signing_keys)
    data = child(body, "event-data")
    type = _TYPES.get(str(data.get("event")))
    return [] if type is None else [_event(data, type, token)]


def _token(signature: Object, incoming: Incoming, keys: tuple[str, ...]) -> str:
    """That of the signature, which is right and not too old."""
    sent, token, given = (text(signature.get(name)) or "" for name in ("timestamp", "token", "signature"))
    right = [hmac.new(key.encode(), f"{sent}{token}".encode(), hashlib.sha256).hexdigest() for key in keys]
    if not token or not is_one_of(given, right):
        raise RefusedError("its signature is missing or wrong", _REFUSED)
    at = timestamp(sent)
    if at is None:
        raise RefusedError("it has no time stamp", _REFUSED)
    check_age(at, incoming.now, _LONGEST_AGE, _REFUSED)
    return token


def _event(data: Object, type: EventType, token: str) -> ReportedEvent:
    status = child(data, "delivery-status")
    if type is EventType.BOUNCED and data.get("severity") == "temporary":
        type = EventType.DEFERRED
    return ReportedEvent(
        type=type,
        source="mailgun",
        event_id=identity(token),
        at=moment(data.get("timestamp")),
        recipient=address(data.get("recipient")),
        message_id=angled(child(child(data, "message"), "headers").get("message-id")),
        reply=reply(
            text(status.get("message")) or status.get("description"),
            code=status.get("code"),
            enhanced=status.get("enhanced-code"),
        ),
        proven=True,
        category=word(data.get("reason")) if type in {EventType.BOUNCED, EventType.DEFERRED} else None,
    )
