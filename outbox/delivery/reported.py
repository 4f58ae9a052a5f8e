"""What becomes known of a recipient after the relay's 250, whoever reported it. Pure.

The names are Anymail's, which has them from many providers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from outbox.delivery.reply import Reply


class EventType(StrEnum):
    """What has happened."""

    DELIVERED = "delivered"  # the recipient's server took it
    DEFERRED = "deferred"  # a server on the way tries again
    BOUNCED = "bounced"  # it will not arrive
    COMPLAINED = "complained"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"
    AUTORESPONDED = "autoresponded"  # a program answered: a vacation, a ticket
    OPENED = "opened"
    CLICKED = "clicked"
    DELAYED = "delayed"  # by a worker of ours: it is still queued, long after it was due
    UNKNOWN = "unknown"  # a report that could not be understood


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """One event about one recipient, as a way in has understood it. Nothing is believed unless it is `proven`."""

    type: EventType
    source: str
    """Which way it came in: "report" for mail, else a provider's name; with `event_id`, once each."""
    event_id: str
    """The provider's own id of the event, with the recipient where one event names several; ≤ 255 characters."""
    at: datetime | None = None
    """When it happened, with a time zone; None: it does not say."""
    recipient: str | None = None
    """The address that the event is about, as reported."""
    delivery_id: int | None = None
    """Out of a signed address; never out of anything that a stranger can write."""
    message_pk: int | None = None
    """The same, where the address stands for a whole SMTP transaction: `recipient` says which delivery."""
    relay_id: str | None = None
    """The relay's own id from its final 250."""
    message_id: str | None = None
    """The header of the message, with its angle brackets."""
    reply: Reply | None = None
    """The status and words of the server that refused it, as far as they are reported."""
    proven: bool = False
    """Who says so is known: a valid signature of the provider's, or a signed address of ours. Only what is proven
    *and* tied to a delivery of that recipient suppresses."""
    soft: bool = False
    """Of a bounce: the source says that it is for a while. Whatever its code, it suppresses nothing."""
    category: str | None = None
    """The provider's own word for the cause, for people: "General", "MailboxFull"."""
