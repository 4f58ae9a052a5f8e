"""What was reported after the relay's 250: each event stored once, tied to its delivery, with what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import sqlalchemy as sa

from outbox.delivery.reported import ReportedEvent
from outbox.delivery.suppression import Follows
from outbox.message.digest import digest
from outbox.operations.conditions import MAX_ID
from outbox.operations.connect import guarded
from outbox.operations.tables import ATTEMPT, DELIVERY, MESSAGE
from outbox.store.events import Tied, add, follow, of_deliveries, tied_to
from outbox.store.failures import OUTAGES

_ATTEMPTS = 3
_MOST_TIED = 1_000  # deliveries that are looked through for the recipient of one event


class Tie(StrEnum):
    """How the delivery of an event was found."""

    TOKEN = "token"  # noqa: S105 - a signed address of ours
    RELAY_ID = "relay-id"  # the relay's own id from its 250
    MESSAGE_ID = "message-id"
    ATTEMPT = "attempt"  # a worker was told itself


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
                return _record(engine, settings, events)
        except Exception as error:
            if attempt == _ATTEMPTS or not isinstance(error.__cause__, OUTAGES):
                raise
    raise AssertionError  # the last round returns or raises


def _record(engine: sa.Engine, settings: EventSettings, events: Sequence[ReportedEvent]) -> list[Recorded]:
    recorded: dict[int, Recorded] = {}
    in_order = sorted(range(len(events)), key=lambda number: (events[number].source, events[number].event_id))
    with engine.begin() as connection:
        for number in in_order:  # so that two who record the same don't wait for each other
            recorded[number] = _one(connection, settings, events[number])
    return [recorded[number] for number in range(len(events))]


def _one(connection: sa.Connection, settings: EventSettings, event: ReportedEvent) -> Recorded:
    key = settings.address_digest_key
    known = digest(event.recipient, key) if event.recipient else None
    tied = tie(connection, event, known)
    event_pk = add(connection, event, tied, known)
    delivery_id = tied.id if tied else None
    if event_pk is None or tied is None:
        return Recorded(event, event_pk, delivery_id)
    follows = follow(connection, event, tied, event_pk, bounce_seconds=settings.bounce_suppression_seconds)
    return Recorded(event, event_pk, delivery_id, follows)


def tie(connection: sa.Connection, event: ReportedEvent, known: str | None) -> Tied | None:
    """The delivery that `event` is about; None where there is none, or several may be meant.

    `known`: the digest of the reported recipient. A signed address names its delivery whoever is reported: forwarded
    mail bounces for another address.
    """
    if event.delivery_id is not None:
        return _only(connection, Tie.TOKEN, None, DELIVERY.c.id == min(event.delivery_id, MAX_ID))
    if event.message_pk is not None:
        return _only(connection, Tie.TOKEN, known, DELIVERY.c.message_id == min(event.message_pk, MAX_ID))
    if event.relay_id:
        ids = sa.select(ATTEMPT.c.delivery_id).where(ATTEMPT.c.relay_id == event.relay_id[:255])
        if (found := _only(connection, Tie.RELAY_ID, known, DELIVERY.c.id.in_(ids))) is not None:
            return found
    if event.message_id:
        return _only(connection, Tie.MESSAGE_ID, known, MESSAGE.c.message_id == event.message_id[:320])
    return None


def _only(connection: sa.Connection, by: Tie, known: str | None, *where: sa.ColumnElement[bool]) -> Tied | None:
    """The one delivery that fits: that of the recipient, or the only one."""
    rows: Sequence[Any] = connection.execute(of_deliveries().where(*where).limit(_MOST_TIED)).all()
    named = [row for row in rows if known is not None and row.digest == known]
    fitting = named or (rows if known is None or (by is Tie.TOKEN and len(rows) == 1) else [])
    return tied_to(fitting[0], by) if len(fitting) == 1 else None
