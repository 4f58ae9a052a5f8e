"""When an outcome is durable: what a connection waits for before its next final dot."""

from __future__ import annotations

import threading

from outbox.core.clock import monotonic
from outbox.delivery.reply import Phase
from outbox.store.outcome import Outcome


class Ticket:
    """Tells when an outcome is durable."""

    __slots__ = ("_parked", "outcome", "settled")

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.settled = False
        self._parked: threading.Lock | None = None  # held by the one thread that waits

    def settle(self) -> None:
        """The outcome is committed."""
        self.settled = True
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.release()

    def durable(self, timeout: float) -> bool:
        """Wait until the outcome is committed; False after `timeout` seconds without. One thread at a time."""
        if not self.settled and timeout > 0:
            parked = threading.Lock()
            parked.acquire()
            self._parked = parked  # before the look: who settles does it the other way round
            if not self.settled:
                parked.acquire(timeout=timeout)
        return self.settled


class Unrecorded:
    """What one connection did on the network and is not durable yet. Not thread-safe."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    def add(self, ticket: Ticket) -> None:
        """To be called with every outcome; one that never reached the network is not waited for."""
        result = ticket.outcome.result
        if result is not None and result.phase is not Phase.LOCAL:
            self._tickets = [one for one in self._tickets if not one.settled] + [ticket]

    @property
    def is_durable(self) -> bool:
        """Whether all of it is committed."""
        return all([ticket.settled for ticket in self._tickets])  # noqa: C419 - there is one, mostly

    def durable(self, timeout: float) -> bool:
        """Wait until all of it is committed; False after `timeout` seconds without."""
        end = monotonic() + timeout
        return all(ticket.durable(end - monotonic()) for ticket in self._tickets)
