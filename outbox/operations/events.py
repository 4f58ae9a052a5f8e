"""What was reported after the relay's 250: each event stored once, tied to its delivery, with what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import sqlalchemy as sa

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.suppression import Follows
from outbox.message.digest import digest
from outbox.operations.connect import guarded
from outbox.operations.event_ties import Ties
from outbox.store.effects import listeners_of
from outbox.store.events import Tied, add, follow
from outbox.store.failures import OUTAGES

_ATTEMPTS = 3


class EventSettings(Protocol):
    """The settings that are asked for here."""

    @property
    def address_digest_key(self) -> bytes: ...
    @property
    def bounce_suppression_seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one reported event."""

    event: ReportedEvent
    id: int | None
    """Of `outbox_event`; None: it was recorded before."""
    delivery_id: int | None
    """None: nothing of ours is known that it could be about."""
    follows: Follows | None = None
    """What was suppressed."""


def record(engine: sa.Engine, settings: EventSettings, events: Sequence[ReportedEvent]) -> list[Recorded]:
    """Store `events` in one transaction, each once, and do what follows from those that are proven and tied.

    In their order. Raises DatabaseError or SchemaError: then none is stored, and the same call may be repeated.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with guarded(engine):
                recorded = _record(engine, settings, events)
        except Exception as error:
            if attempt == _ATTEMPTS or not isinstance(error.__cause__, OUTAGES):
                raise
        else:
            if (listeners := listeners_of(engine)) is not None:
                listeners.recorded([one for one in recorded if one.id is not None])
            return recorded
    raise AssertionError  # the last round returns or raises


def _record(engine: sa.Engine, settings: EventSettings, events: Sequence[ReportedEvent]) -> list[Recorded]:
    recorded: dict[int, Recorded] = {}
    in_order = sorted(range(len(events)), key=lambda number: (events[number].source, events[number].event_id))
    with engine.begin() as connection:
        ties = Ties(connection, events)
        for number in in_order:  # so that two who record the same don't wait for each other
            recorded[number] = _one(connection, settings, events[number], ties)
    return [recorded[number] for number in range(len(events))]


def _one(connection: sa.Connection, settings: EventSettings, event: ReportedEvent, ties: Ties) -> Recorded:
    key = settings.address_digest_key
    known = digest(event.recipient, key) if event.recipient else None
    tied = ties.of(event, known)
    if event.message_pk is not None and not _is_believed(event, event.message_pk, known, tied, ties):
        event = replace(event, proven=False)
    event_pk = add(connection, event, tied, known)
    delivery_id = tied.id if tied else None
    if event_pk is None or tied is None:
        return Recorded(event, event_pk, delivery_id)
    follows = follow(connection, event, tied, event_pk, bounce_seconds=settings.bounce_suppression_seconds)
    return Recorded(event, event_pk, delivery_id, follows)


def _is_believed(event: ReportedEvent, message_pk: int, known: str | None, tied: Tied | None, ties: Ties) -> bool:
    """Whether a signed address that stands for all recipients of a message proves what is said of one of them."""
    if event.type is EventType.COMPLAINED:  # any of them may have written it about another, and for good
        return not ties.has_several(message_pk)
    if event.type is EventType.BOUNCED:  # it says that an address does not exist: no other than it names
        return known is None or tied is None or tied.digest in {None, known}
    return True
