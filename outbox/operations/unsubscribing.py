"""A person unsubscribes, or takes that back: the suppression and its event, in one transaction.

By the link of a message, by mail with its token, or in the application. Who does so is proven each time, so handlers
are told, also where no delivery is left that the event could be tied to.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.delivery.preferences import EVERYTHING, Preferences, preferences
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.suppression import SUBSCRIPTION, Follows, Suppressed, Why
from outbox.message.digest import digest
from outbox.operations import suppressions
from outbox.operations.event_ties import Tie
from outbox.operations.events import Recorded
from outbox.operations.tables import DELIVERY, EVENT, MESSAGE, SUPPRESSION
from outbox.store import events
from outbox.store.effects import Listeners, listeners_of, of_event
from outbox.store.suppressions import Cause, in_force, suppress

LINK, MAIL, APPLICATION = "link", "mail", "application"
"""Sources of the event, and who did it."""

_MOST_DELIVERIES = 1_000  # of one address, among which the newest of the list is looked for


@dataclass(frozen=True, slots=True)
class Lists:
    """What an application sends to subscribers."""

    kinds: tuple[str, ...]  # of the category `subscription`
    environment: str
    address_key: bytes
    listeners: Listeners | None = None  # None: those of the connection


class Subscriber:
    """One address, within one transaction."""

    def __init__(self, connection: sa.Connection, address: str, lists: Lists, source: str) -> None:
        self.recorded: list[Recorded] = []
        """The events, for `told` after the commit."""
        self._connection = connection
        self._address = address
        self._lists = lists
        self._source = source
        self._digest = digest(address, lists.address_key)

    def preferences(self, *more: str) -> Preferences:
        """What is on and off: all lists of the application, and `more`."""
        rows = self._connection.execute(
            sa.select(SUPPRESSION.c.scope, SUPPRESSION.c.reason, SUPPRESSION.c.since, SUPPRESSION.c.until)
            .where(SUPPRESSION.c.digest == self._digest, in_force())
            .order_by(SUPPRESSION.c.id)
        )
        entries = [Suppressed(row.scope, Why(row.reason), row.since, row.until) for row in rows]
        return preferences(entries, dict.fromkeys((*self._lists.kinds, *more)))

    def unsubscribe(self, scope: str) -> Recorded | None:
        """Send nothing of this scope to the address any more; None where that was so."""
        if self._off(scope) is not None:
            return None
        recorded = self._record(scope, uuid.uuid4().hex)
        if recorded.follows is None:  # another request was faster
            self._connection.execute(EVENT.delete().where(EVENT.c.id == recorded.id))
            return None
        return recorded

    def unsubscribe_once(self, scope: str, event_id: str) -> Recorded:
        """The same, by a mail, which is acted on once, whatever was decided since. `event_id`: the mail's."""
        return self._record(scope, event_id)

    def _record(self, scope: str, event_id: str) -> Recorded:
        event = ReportedEvent(
            EventType.UNSUBSCRIBED, self._source, event_id, recipient=self._address, proven=True, category=scope
        )
        tied = self._newest(scope)
        pk = events.add(self._connection, event, tied, self._digest, tells=False)
        delivery_id = tied.id if tied else None
        if pk is None or not self._suppress(scope, Cause(self._source, event_id=pk)):
            return Recorded(event, pk, delivery_id)
        kinds = self._lists.kinds if scope == EVERYTHING else (_kind(scope),)
        of_event(
            self._connection,
            event.type.value,
            pk,
            delivery_id,
            kinds or (None,),
            environment=self._lists.environment,
            listeners=self._lists.listeners,
        )
        self.recorded.append(Recorded(event, pk, delivery_id, Follows(scope, Why.UNSUBSCRIBED)))
        return self.recorded[-1]

    def subscribe(self, scope: str) -> bool:
        """Take that back, and nothing else: an address that bounced stays suppressed. Whether something changed.

        Who had left all lists at once and comes back to one stays away from the others.
        """
        came_back = scope != EVERYTHING and self._leave_each(scope)
        return bool(self._lift(scope)) or came_back

    def _leave_each(self, but: str) -> bool:
        """Instead of all lists at once, where that was so: all but this one."""
        everything = self._off(EVERYTHING)
        if everything is None or not self._lift(EVERYTHING):
            return False
        for kind in self._lists.kinds:
            if f"kind:{kind}" != but:
                self._suppress(f"kind:{kind}", Cause(self._source, event_id=everything.event_id))
        return True

    def _suppress(self, scope: str, cause: Cause) -> bool:
        follows = Follows(scope, Why.UNSUBSCRIBED)
        return suppress(self._connection, self._digest, self._address, follows, cause, seconds=None)

    def _lift(self, scope: str) -> int:
        return suppressions.lift(
            self._connection,
            self._address,
            scope,
            by=self._source,
            address_key=self._lists.address_key,
            reason=Why.UNSUBSCRIBED,
        )

    def _off(self, scope: str) -> Any:
        """The entry by which the address is unsubscribed from this scope."""
        return self._connection.execute(
            sa.select(SUPPRESSION.c.id, SUPPRESSION.c.event_id).where(
                SUPPRESSION.c.digest == self._digest,
                SUPPRESSION.c.scope == scope,
                SUPPRESSION.c.reason == Why.UNSUBSCRIBED.value,
                in_force(),
            )
        ).first()

    def _newest(self, scope: str) -> events.Tied | None:
        """The newest delivery of what the address leaves, along the index on recipients."""
        newest = (
            sa.select(DELIVERY.c.id)
            .where(DELIVERY.c.recipient == self._address)
            .order_by(DELIVERY.c.id.desc())
            .limit(_MOST_DELIVERIES)
            .subquery()
        )
        mine = MESSAGE.c.category == SUBSCRIPTION if scope == EVERYTHING else MESSAGE.c.kind == _kind(scope)
        row = self._connection.execute(
            events.of_deliveries()
            .where(DELIVERY.c.id.in_(sa.select(newest.c.id)), DELIVERY.c.digest == self._digest)
            .where(mine, MESSAGE.c.environment == self._lists.environment)
            .order_by(DELIVERY.c.id.desc())
            .limit(1)
        ).first()
        return None if row is None else events.tied_to(row, Tie.ADDRESS)


def told(engine: sa.Engine, recorded: Sequence[Recorded]) -> None:
    """Say what was recorded, after the commit."""
    if recorded and (listeners := listeners_of(engine)) is not None:
        listeners.recorded(recorded)


def _kind(scope: str) -> str:
    return scope.partition(":")[2]
