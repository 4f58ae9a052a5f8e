"""A delivery between its claim and its end, as this worker has it."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from outbox.core.value import value
from outbox.store.claimed import Claimed
from outbox.worker.permit import FREE, Permit


@value(frozen=True, slots=True)
class Leased:
    """A claimed delivery and how long it may be worked on."""

    claimed: Claimed
    deadline: float  # monotonic seconds: the end of the lease, counted from before the claim


Entry = tuple[int, int, Leased]  # slot, order of arrival


@value(frozen=True, slots=True)
class Begun:
    """How a delivery was admitted."""

    opening: int  # the breaker's `openings`
    probe: bool
    at: float  # monotonic seconds
    permit: Permit = FREE
    along: tuple[Leased, ...] = ()  # taken with it, of the same message


def least_suspected(heap: list[Entry], senders: Collection[str], domains: Collection[str]) -> Leased:
    """Taken from the heap: the first of what is of none of these senders and domains, else of fewest."""

    def suspicion(entry: Entry) -> tuple[int, int, int]:
        claimed = entry[2].claimed
        suspected = (claimed.message.envelope_from in senders) + (claimed.recipient.rpartition("@")[2] in domains)
        return suspected, entry[0], entry[1]

    entry = min(heap, key=suspicion)
    heap.remove(entry)
    heapq.heapify(heap)
    return entry[2]
