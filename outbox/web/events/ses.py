"""Amazon SES, by way of SNS: notifications (`notificationType`) and event publishing (`eventType`).

https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html,
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from outbox.core.loggers import get_logger
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.settings import Settings
from outbox.web.events import sns
from outbox.web.events.incoming import Incoming
from outbox.web.events.payloads import (
    Object,
    address,
    angled,
    child,
    identity,
    listed,
    moment,
    objects,
    reply,
    text,
    word,
)

log = get_logger("outbox.web")


def read(incoming: Incoming, settings: Settings) -> list[ReportedEvent]:
    """The events of a request. Raises RefusedError, UnavailableError."""
    message = sns.verified(incoming, settings.ses_topics)
    if message["Type"] == "SubscriptionConfirmation":
        sns.confirm(message)
        return []
    if message["Type"] != "Notification":
        log.warning("status=webhook-unsubscribed provider=ses topic=%s", message["TopicArn"])
        return []
    try:
        notification = json.loads(str(message["Message"]))
    except ValueError:
        return []  # SES announces a new topic in plain words
    return events(notification) if isinstance(notification, dict) else []


def events(notification: Object) -> list[ReportedEvent]:
    """The events of a notification that is known to be from SES."""
    mail = child(notification, "mail")
    make = _KINDS.get(str(notification.get("eventType") or notification.get("notificationType")))
    return [] if make is None else list(make(notification, _Mail(mail)))


class _Mail:
    """The mail that an event is about."""

    def __init__(self, mail: Object) -> None:
        self.id = text(mail.get("messageId"))
        self.time = mail.get("timestamp")
        headers = child(mail, "commonHeaders")
        self._message_id = angled(headers.get("messageId"))
        self.recipients = listed(mail.get("destination"))

    def event(
        self, type: EventType, recipient: Any, at: Any, *parts: Any, proven: bool = True, **more: Any
    ) -> ReportedEvent:
        """`parts`: what makes the event one of a kind, beside its type and recipient."""
        return ReportedEvent(
            type=type,
            source="ses",
            event_id=identity(type, *parts, text(recipient)),
            at=moment(at),
            recipient=address(recipient),
            relay_id=self.id,
            message_id=self._message_id,
            proven=proven,
            **more,
        )


_Events = Iterator[ReportedEvent]


def _bounce(notification: Object, mail: _Mail) -> _Events:
    bounce = child(notification, "bounce")
    category = word(bounce.get("bounceType"), bounce.get("bounceSubType"))
    soft = bounce.get("bounceType") == "Transient"
    for one in objects(bounce.get("bouncedRecipients")):
        said = reply(one.get("diagnosticCode"), enhanced=one.get("status"))
        unique = bounce.get("feedbackId") or mail.id
        at = bounce.get("timestamp")
        yield mail.event(
            EventType.BOUNCED, one.get("emailAddress"), at, unique, reply=said, soft=soft, category=category
        )


def _complaint(notification: Object, mail: _Mail) -> _Events:
    """Where an ISP does not say who complained, SES names all who may have: then nobody is known to."""
    complaint = child(notification, "complaint")
    named = objects(complaint.get("complainedRecipients"))
    category = word(complaint.get("complaintFeedbackType"), complaint.get("complaintSubType"))
    for one in named:
        unique = complaint.get("feedbackId") or mail.id
        at = complaint.get("arrivalDate") or complaint.get("timestamp")
        yield mail.event(
            EventType.COMPLAINED, one.get("emailAddress"), at, unique, proven=len(named) == 1, category=category
        )


def _delivery(notification: Object, mail: _Mail) -> _Events:
    delivery = child(notification, "delivery")
    said = reply(delivery.get("smtpResponse"))
    for recipient in listed(delivery.get("recipients")) or mail.recipients:
        yield mail.event(EventType.DELIVERED, recipient, delivery.get("timestamp"), mail.id, reply=said)


def _delay(notification: Object, mail: _Mail) -> _Events:
    delay = child(notification, "deliveryDelay")
    at = delay.get("timestamp")
    for one in objects(delay.get("delayedRecipients")):
        said = reply(one.get("diagnosticCode"), enhanced=one.get("status"))
        category = word(delay.get("delayType"))
        yield mail.event(EventType.DEFERRED, one.get("emailAddress"), at, mail.id, at, reply=said, category=category)


def _reject(notification: Object, mail: _Mail) -> _Events:
    """SES found a virus, and sent it to nobody."""
    said = reply(child(notification, "reject").get("reason"))
    for recipient in mail.recipients:
        yield mail.event(EventType.BOUNCED, recipient, mail.time, mail.id, "reject", reply=said, category="Reject")


def _subscription(notification: Object, mail: _Mail) -> _Events:
    subscription = child(notification, "subscription")
    wishes = child(subscription, "newTopicPreferences")
    out = [
        one.get("topicName")
        for one in objects(wishes.get("topicSubscriptionStatus"))
        if one.get("subscriptionStatus") == "OptOut"
    ]
    if wishes.get("unsubscribeAll") is not True and not out:
        return
    category = word(subscription.get("contactList"), *out)
    at = subscription.get("timestamp")
    for recipient in mail.recipients:
        proven = len(mail.recipients) == 1
        yield mail.event(EventType.UNSUBSCRIBED, recipient, at, mail.id, at, proven=proven, category=category)


def _seen(type: EventType, name: str) -> Callable[[Object, _Mail], _Events]:
    def make(notification: Object, mail: _Mail) -> _Events:
        """By one of the recipients; which one is known only if there is one."""
        seen = child(notification, name)
        at = seen.get("timestamp")
        recipient = mail.recipients[0] if len(mail.recipients) == 1 else None
        yield mail.event(type, recipient, at, mail.id, at, seen.get("link"))

    return make


_KINDS: dict[str, Callable[[Object, _Mail], _Events]] = {
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Delivery": _delivery,
    "DeliveryDelay": _delay,
    "Reject": _reject,
    "Subscription": _subscription,
    "Open": _seen(EventType.OPENED, "open"),
    "Click": _seen(EventType.CLICKED, "click"),
}
"""The others (Send, Rendering Failure) are about what comes before the 250."""
