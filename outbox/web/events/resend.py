"""Resend's webhooks, which Svix signs: HMAC over id, time stamp and body, as they came.

https://resend.com/docs/webhooks/event-types, https://docs.svix.com/receiving/verifying-payloads/how-manual
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.standard_webhooks import PREFIX, signature
from outbox.settings import Settings
from outbox.settings.webhook_values import SVIX_PREFIX
from outbox.web.events.incoming import Incoming, RefusedError, check_age, is_one_of
from outbox.web.events.payloads import (
    Object,
    address,
    angled,
    child,
    identity,
    listed,
    moment,
    parsed,
    reply,
    text,
    timestamp,
    word,
)

_LONGEST_AGE = timedelta(minutes=5)  # each repetition has a signature of its own
_MOST_SIGNATURES = 16

_TYPES = {
    "email.delivered": EventType.DELIVERED,
    "email.delivery_delayed": EventType.DEFERRED,
    "email.bounced": EventType.BOUNCED,
    "email.failed": EventType.BOUNCED,
    "email.suppressed": EventType.BOUNCED,
    "email.complained": EventType.COMPLAINED,
    "email.opened": EventType.OPENED,
    "email.clicked": EventType.CLICKED,
}
_ENHANCED = {"NoEmail": "5.1.1"}  # the words of Amazon SES, by which it sends


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The events of a request, one for each recipient. Raises RefusedError."""
    id_ = _verified(incoming, settings.resend_signing_secrets)
    body = parsed(incoming.body)
    body = body if isinstance(body, dict) else {}
    type = _TYPES.get(str(body.get("type")))
    if type is None:
        return []
    data = child(body, "data")
    recipients = listed(data.get("to")) or [data.get("to")]
    sure = len(recipients) == 1  # it names all of the message, not whom the event is about
    return [_event(body, data, type, id_, recipient, proven=sure) for recipient in recipients]


def _verified(incoming: Incoming, secrets: Iterable[str]) -> str:
    """The id that the request is signed with."""
    id_, sent, given = (incoming.header(f"svix-{name}") for name in ("id", "timestamp", "signature"))
    keys = [base64.b64decode(one.removeprefix(SVIX_PREFIX)) for one in secrets]
    right = [signature(key, id_, sent, incoming.body) for key in keys]
    signatures = [one.removeprefix(PREFIX) for one in given.split()[:_MOST_SIGNATURES] if one.startswith(PREFIX)]
    if not id_ or not any(is_one_of(one, right) for one in signatures):
        raise RefusedError("its signature is missing or wrong")
    at = timestamp(sent)
    if at is None:
        raise RefusedError("it has no time stamp")
    check_age(at, incoming.now, _LONGEST_AGE)
    return id_


def _event(body: Object, data: Object, type: EventType, id_: str, recipient: Any, *, proven: bool) -> ReportedEvent:
    bounce = child(data, "bounce")
    why = child(data, "failed") or child(data, "suppressed")
    return ReportedEvent(
        type=type,
        source="resend",
        event_id=identity(id_, text(recipient)),
        at=moment(body.get("created_at")),
        recipient=address(recipient),
        relay_id=text(data.get("email_id")),
        message_id=angled(data.get("message_id")),
        reply=_reply(bounce, why),
        proven=proven,
        soft=bounce.get("type") == "Transient",
        category=word(bounce.get("type") or why.get("type"), bounce.get("subType")),
    )


def _reply(bounce: Object, why: Object) -> Reply | None:
    codes = listed(bounce.get("diagnosticCode")) or [bounce.get("diagnosticCode")]
    said = text(codes[0]) or bounce.get("message") or why.get("reason") or why.get("message")
    return reply(said, enhanced=_ENHANCED.get(str(bounce.get("subType"))))
