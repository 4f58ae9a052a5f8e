"""Why an address gets nothing: what is suppressed for it and why, its last deliveries, what was reported of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from outbox.delivery.suppression import described
from outbox.message.digest import digest
from outbox.operations import event_log, suppressions
from outbox.operations.event_log import Event
from outbox.operations.filters import Filter
from outbox.operations.find import Row, find
from outbox.operations.suppressions import Entry, Wanted

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
    """Along indexes alone, however much there is."""
    address = address.strip()
    return AddressReport(
        address,
        suppressions.entries(connection, Wanted(address=address), address_key=address_key, limit=MOST),
        find(connection, Filter(recipient=address), limit=DELIVERIES),
        event_log.of_address(connection, digest(address, address_key), EVENTS),
    )
