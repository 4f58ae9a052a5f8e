"""Brevo's transactional webhooks: a user name and password in the URL, or a token in a header.

https://developers.brevo.com/docs/transactional-webhooks, https://developers.brevo.com/docs/username-and-password-authentication
"""

from __future__ import annotations

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.settings import Settings
from outbox.web.events.incoming import Incoming, RefusedError, check_credentials, is_one_of
from outbox.web.events.payloads import Object, address, angled, identity, moment, objects, parsed, reply, word

_TYPES = {
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "soft_bounce": EventType.BOUNCED,
    "hard_bounce": EventType.BOUNCED,
    "invalid_email": EventType.BOUNCED,
    "blocked": EventType.BOUNCED,
    "error": EventType.BOUNCED,
    "spam": EventType.COMPLAINED,
    "complaint": EventType.COMPLAINED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "opened": EventType.OPENED,
    "unique_opened": EventType.OPENED,
    "proxy_open": EventType.OPENED,
    "unique_proxy_open": EventType.OPENED,
    "click": EventType.CLICKED,
}
_WITH_REASON = frozenset({EventType.BOUNCED, EventType.DEFERRED})
_BEARER = "Bearer "


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The events of a request, one or a batch. Raises RefusedError."""
    given = incoming.header("Authorization")
    if given.startswith(_BEARER):
        if not is_one_of(given.removeprefix(_BEARER), settings.brevo_tokens):
            raise RefusedError("its token is wrong")
    else:
        check_credentials(incoming, settings.brevo_credentials)
    return [
        _event(one, _TYPES[name]) for one in objects(parsed(incoming.body)) if (name := str(one.get("event"))) in _TYPES
    ]


def _event(one: Object, type: EventType) -> ReportedEvent:
    seconds = one.get("ts_event") or one.get("ts")
    return ReportedEvent(
        type=type,
        source="brevo",
        event_id=identity(
            *(one.get(name) for name in ("event", "message-id")), seconds, one.get("email"), one.get("link")
        ),
        at=moment(seconds),
        recipient=address(one.get("email")),
        message_id=angled(one.get("message-id")),
        reply=reply(one.get("reason")) if type in _WITH_REASON else None,
        proven=True,
        soft=one.get("event") == "soft_bounce",
        category=word(one.get("event")) if type in _WITH_REASON else None,
    )
