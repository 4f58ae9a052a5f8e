"""A person unsubscribes by a link, or takes that back: the suppression and its event, in one transaction."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.suppression import Follows, Why
from outbox.message.digest import digest
from outbox.operations import suppressions
from outbox.store import events
from outbox.store.suppressions import Cause, suppress

SOURCE = "link"
"""Of the event, and who did it."""


def unsubscribe(connection: sa.Connection, address: str, scope: str, *, address_key: bytes) -> bool:
    """Send nothing of this scope to `address` any more; whether that is new."""
    hashed, follows = digest(address, address_key), Follows(scope, Why.UNSUBSCRIBED)
    if not suppress(connection, hashed, address, follows, Cause(SOURCE), seconds=None):
        return False
    event = ReportedEvent(
        EventType.UNSUBSCRIBED, SOURCE, uuid.uuid4().hex, recipient=address, proven=True, category=scope[:64]
    )
    events.add(connection, event, None, hashed)
    return True


def resubscribe(connection: sa.Connection, address: str, scope: str, *, address_key: bytes) -> bool:
    """Take that back, and nothing else: an address that bounced stays suppressed. Whether there was something."""
    lifted = suppressions.lift(connection, address, scope, by=SOURCE, address_key=address_key, reason=Why.UNSUBSCRIBED)
    return lifted > 0
