"""Why an address gets nothing: what is suppressed for it and why, its last deliveries, what was reported of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from outbox.delivery.suppression import described
from outbox.message.digest import digest, normal_form
from outbox.operations import event_log, suppressions
from outbox.operations.conditions import recipient_is
from outbox.operations.event_log import Event
from outbox.operations.filters import Filter
from outbox.operations.find import Row, find
from outbox.operations.suppressions import Entry, Wanted
from outbox.operations.tables import DELIVERY, SUPPRESSION

DELIVERIES = 10
EVENTS = 10
MOST = 100


@dataclass(frozen=True, slots=True)
class AddressReport:
    """All that is known of one address, the newest first."""

    address: str
    suppressions: list[Entry] = field(default_factory=list)  # in force
    deliveries: list[Row] = field(default_factory=list)  # DELIVERIES at most
    events: list[Event] = field(default_factory=list)  # EVENTS at most

    @property
    def answer(self) -> str:
        """In a sentence."""
        if self.suppressions:
            scopes = dict.fromkeys(described(one.scope) for one in reversed(self.suppressions))
            return f"{self.address} is suppressed for {', '.join(scopes)}."
        if not self.deliveries:
            return f"{self.address} is not suppressed, and no mail to it is kept here."
        return f"{self.address} is not suppressed. The last delivery to it is {self.deliveries[0].state}."


def look_up(connection: sa.Connection, address: str, *, address_key: bytes) -> AddressReport:
    """Along indexes alone, however much there is. Of every spelling in which it is the same mailbox."""
    address = address.strip()
    hashed = digest(address, address_key)
    return AddressReport(
        address,
        suppressions.entries(connection, Wanted(address=address), address_key=address_key, limit=MOST),
        _last_deliveries(connection, address, hashed),
        event_log.of_address(connection, hashed, EVENTS),
    )


def _last_deliveries(connection: sa.Connection, address: str, hashed: str) -> list[Row]:
    """The newest to the mailbox, in whichever spelling it was enqueued, and what still waits in a spelling known here.

    What has ended has an index on the digest. What is live has none, since each claim would have to write it.
    """
    ended = sa.select(DELIVERY.c.id, DELIVERY.c.recipient).where(
        DELIVERY.c.digest == hashed, DELIVERY.c.finished_at.is_not(None)
    )
    found = connection.execute(ended.order_by(DELIVERY.c.id.desc()).limit(DELIVERIES)).all()
    listed = sa.select(SUPPRESSION.c.address).where(SUPPRESSION.c.digest == hashed, SUPPRESSION.c.address.is_not(None))
    known = {address, normal_form(address), *(row.recipient for row in found)}
    known |= set(connection.execute(listed.limit(MOST)).scalars())
    spelled = sa.or_(*(recipient_is(one) for one in sorted(known)))
    live = sa.select(DELIVERY.c.id).where(spelled, DELIVERY.c.due_at.is_not(None))
    waiting = connection.execute(live.order_by(DELIVERY.c.id.desc()).limit(DELIVERIES)).scalars()
    ids = sorted({*waiting, *(row.id for row in found)}, reverse=True)[:DELIVERIES]
    return find(connection, Filter(ids=tuple(ids)), limit=DELIVERIES) if ids else []
