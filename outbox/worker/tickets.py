"""When an outcome is durable: what a connection waits for before its next final dot."""

from __future__ import annotations

from collections.abc import Callable

from outbox.core.clock import monotonic
from outbox.core.sync import EventCount
from outbox.delivery.reply import Phase
from outbox.store.outcome import Outcome


class Ticket:
    """Tells when an outcome is durable."""

    __slots__ = ("_event_count", "outcome", "settled")

    def __init__(self, outcome: Outcome, event_count: EventCount) -> None:
        self.outcome = outcome
        self.settled = False
        self._event_count = event_count

    def durable(self, timeout: float) -> bool:
        """Wait until the outcome is committed; False after `timeout` seconds without."""
        return wait_until(self._event_count, lambda: self.settled, timeout)


class Unrecorded:
    """What one connection did on the network and is not durable yet. Not thread-safe."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    def add(self, ticket: Ticket) -> None:
        """To be called with every outcome; one that never reached the network is not waited for."""
        result = ticket.outcome.result
        if result is not None and result.phase is not Phase.LOCAL:
            self._tickets = [one for one in self._tickets if not one.settled] + [ticket]

    def durable(self, timeout: float) -> bool:
        """Wait until all of it is committed; False after `timeout` seconds without."""
        end = monotonic() + timeout
        return all(ticket.durable(end - monotonic()) for ticket in self._tickets)


def wait_until(event_count: EventCount, done: Callable[[], bool], timeout: float) -> bool:
    """Wait for `done`, which is asked again at each event; False after `timeout` seconds without."""
    end = monotonic() + timeout
    while True:
        count = event_count.count
        if done():
            return True
        left = end - monotonic()
        if left <= 0:
            return False
        event_count.wait(count, left)
