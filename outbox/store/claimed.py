"""A delivery under lease, as its claim has read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outbox.delivery.states import State
from outbox.delivery.suppression import Suppressed
from outbox.message.sealed import is_sealed, open_text
from outbox.store.messages import StoredMessage, for_recipient, sealed_for
from outbox.store.types import utc


@dataclass(slots=True)
class Claimed:
    """A delivery under lease."""

    id: int
    token: int
    recipient: str
    slot: int  # `Lane.slot`
    due_at: datetime  # when it was due before the claim
    attempts: int
    rescues: int
    rescued: bool  # an earlier lease of it was lost
    marked: bool  # by that earlier lease, right before the final dot
    message: StoredMessage
    deferrals: int = 0  # attempts so far that did not count
    route: str = ""  # as `delivery.routes` has it
    batch_id: int | None = None  # of the batch that it belongs to
    listed: bool = False  # its address is suppressed in some scope
    suppressed: Suppressed | None = None  # what stops it, where `listed` was looked at


def claimed_from(row: Any, token: int, message: StoredMessage) -> Claimed:
    """The delivery in a row that a claim has read."""
    rescued = row.state == State.SENDING
    recipient = row.recipient
    if is_sealed(recipient):
        recipient = open_text(recipient, "recipient")
        message = sealed_for(message, recipient)
    return Claimed(
        id=row.id,
        token=token,
        recipient=recipient,
        slot=row.lane,
        due_at=utc(row.due_at),
        attempts=row.attempts,
        deferrals=row.deferrals,
        route=row.route,
        batch_id=row.batch_id,
        listed=bool(row.listed),
        rescues=row.rescues + rescued,
        rescued=rescued,
        marked=row.marked_at is not None,
        message=for_recipient(message, recipient),
    )
