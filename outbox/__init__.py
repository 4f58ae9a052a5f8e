"""A transactional outbox for mail in Flask applications."""

from __future__ import annotations

from outbox.errors import (
    AddressError,
    BadHeaderError,
    ConfigurationError,
    KeyTakenError,
    MessageError,
    MessageTooLargeError,
    MissingFieldError,
    NotBoundError,
    OutboxError,
    SchemaError,
    TemplateError,
    UncommittedMailError,
)
from outbox.extension import Outbox
from outbox.mail import Message, RawMessage, split_addresses
from outbox.models import OutboxMessage
from outbox.settings import Settings
from outbox.signals import delivery_failed, delivery_retried, delivery_sent, delivery_uncertain, message_queued
from outbox.version import VERSION

__version__ = VERSION

__all__ = [
    "Outbox",
    "Message",
    "RawMessage",
    "OutboxMessage",
    "Settings",
    "split_addresses",
    "message_queued",
    "delivery_sent",
    "delivery_retried",
    "delivery_failed",
    "delivery_uncertain",
    "OutboxError",
    "MessageError",
    "AddressError",
    "BadHeaderError",
    "MessageTooLargeError",
    "MissingFieldError",
    "KeyTakenError",
    "TemplateError",
    "ConfigurationError",
    "NotBoundError",
    "SchemaError",
    "UncommittedMailError",
]
