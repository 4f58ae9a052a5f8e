"""What an application can have itself told of: outcomes and events, by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType
from outbox.delivery.states import State

OUTCOMES = (State.SENT.value, State.FAILED.value, State.UNCERTAIN.value, State.CANCELLED.value)
"""Those of a worker; it cancels what a guard or a hook says."""

TYPES = (*OUTCOMES, *(one.value for one in EventType if one is not EventType.UNKNOWN))
"""All that are about one delivery."""

BATCH_DONE = "batch_done"
"""Nothing of a batch is queued or being sent any more."""

HANDLED = (*TYPES, BATCH_DONE)
"""All that a handler can be told of."""


@dataclass(frozen=True, slots=True)
class MailEvent:
    """An outcome or an event of one delivery, as handlers get it. What is not known is None."""

    id: str
    """The same in each call about the same outcome or event: what was done under it was done."""
    type: str
    """`"sent"`, `"failed"`, `"uncertain"`, `"cancelled"`, or an event's: `"bounced"`, `"complained"`, …"""
    at: datetime
    """When it happened, as far as that is known; when it was recorded, else."""
    delivery_id: int | None
    """None: of an unsubscription, where no message to that address is left. `message_id`, too."""
    recipient: str
    message_id: str | None
    """The header of the message, with its angle brackets."""
    key: str | None = None
    """As it was given to `enqueue`; `kind` and `metadata`, too."""
    kind: str | None = None
    category: str | None = None
    metadata: dict[str, Any] | None = None
    reply: Reply | None = None
    """What the server said: `code`, `enhanced`, `text`."""
    reason: str | None = None
    """Of `"failed"`, `"uncertain"` and `"cancelled"`: `"refused"`, `"expired"`, `"guard"`, …"""
    transport: str | None = None
    source: str | None = None
    """Of an event: which way it was reported."""
    scope: str | None = None
    """Of an unsubscription by link, by mail or in the application: `"kind:news"`, or `"category:subscription"` for all
    lists."""


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """A batch that is done, as handlers of `"batch_done"` get it."""

    id: str
    """The same in each call about the same batch."""
    type: str
    at: datetime
    batch: str
    """Its name."""
    kind: str | None
    is_cancelled: bool
    messages: int
    deliveries: int
    counts: dict[str, int]
    """Deliveries by state: `{"sent": 990, "failed": 10}`."""


DIGEST_DUE = "digest"
"""The window of a digest has ended."""


@dataclass(frozen=True, slots=True)
class DigestDue:
    """A digest that is to be made for one recipient, under the lease of one of its items."""

    id: str
    type: str
    environment: str
    name: str
    recipient: str
    digest: str  # of the recipient
    item_id: int
    attempts: int


Happened = MailEvent | BatchEvent | DigestDue


def unknown_types(types: Iterable[str], known: Iterable[str] = TYPES) -> list[str]:
    """Those of `types` that nothing ever has."""
    return [str(one) for one in types if one not in known]
