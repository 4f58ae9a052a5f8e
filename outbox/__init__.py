"""A transactional outbox for mail in Flask applications."""

from __future__ import annotations

import sys

from outbox.core import clock, errors
from outbox.core.errors import (
    AddressError,
    ConfigurationError,
    KeyTakenError,
    MessageError,
    MessageTooLargeError,
    MissingFieldError,
    NotBoundError,
    OutboxError,
    RefusedError,
    SchemaError,
    TemplateError,
    UncommittedMailError,
)
from outbox.core.version import VERSION
from outbox.delivery.before_send import Cancel, Hold, Outgoing
from outbox.delivery.happened import BatchEvent, MailEvent
from outbox.delivery.reply import Result
from outbox.extension.batches import Batch
from outbox.extension.digests import Gathered
from outbox.extension.errors import BadHeaderError
from outbox.extension.flask_mail import Message, RawMessage, split_addresses
from outbox.extension.kinds import Kind
from outbox.extension.outbox import Outbox
from outbox.extension.signals import (
    delivery_failed,
    delivery_retried,
    delivery_sent,
    delivery_uncertain,
    event_recorded,
    message_queued,
)
from outbox.extension.subscribing import Subscription
from outbox.extension.suppressing import Suppressions
from outbox.message.values import Envelope
from outbox.settings import Settings
from outbox.settings.endpoint import Endpoint
from outbox.settings.transport import Transport
from outbox.store.databases import sqlite
from outbox.store.models import OutboxMessage

__version__ = VERSION

# Former names of modules, for code that was written before the rooms; they go before the first release.
for _name, _module in (("clock", clock), ("errors", errors), ("dialect", sqlite)):
    sys.modules[f"{__name__}.{_name}"] = _module
    globals()[_name] = _module

__all__ = [
    "Outbox",
    "Kind",
    "Suppressions",
    "Message",
    "RawMessage",
    "OutboxMessage",
    "Settings",
    "Transport",
    "Endpoint",
    "Envelope",
    "Result",
    "MailEvent",
    "BatchEvent",
    "Gathered",
    "Batch",
    "Subscription",
    "Outgoing",
    "Hold",
    "Cancel",
    "split_addresses",
    "message_queued",
    "delivery_sent",
    "delivery_retried",
    "delivery_failed",
    "delivery_uncertain",
    "event_recorded",
    "OutboxError",
    "MessageError",
    "AddressError",
    "BadHeaderError",
    "MessageTooLargeError",
    "MissingFieldError",
    "KeyTakenError",
    "RefusedError",
    "TemplateError",
    "ConfigurationError",
    "NotBoundError",
    "SchemaError",
    "UncommittedMailError",
]
