"""Which deliveries of one message share a transaction, and how many."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from outbox.delivery.reply import Result
from outbox.message.values import Envelope
from outbox.store.claimed import Claimed
from outbox.worker.leased import Begun, Entry, Leased
from outbox.worker.pacer import Pacer
from outbox.worker.permit import Permit
from outbox.worker.terms import BeforeDotOfAll, Connection, Content, Terms


@runtime_checkable
class Sharing(Connection, Protocol):
    """A connection whose transactions take several recipients."""

    @property
    def most_recipients(self) -> int: ...

    def deliver_together(
        self,
        envelope: Envelope,
        recipients: Sequence[str],
        content: Content,
        *,
        before_dot: BeforeDotOfAll | None = None,
        timeout: float | None = None,
    ) -> list[Result | None]: ...


def sharing_of(connection: Connection, terms: Terms) -> Sharing | None:
    """The connection, if several recipients may share a transaction over it."""
    return connection if isinstance(connection, Sharing) and terms.redirect_to is None else None


def may_share(one: Claimed, other: Claimed) -> bool:
    """Whether both are of the same claim and get the same bytes from the same sender."""
    first, second = one.message, other.message
    return (
        first.pk == second.pk
        and one.token == other.token
        and first.skips == second.skips
        and one.recipient.isascii() is other.recipient.isascii()
    )


def most_for(claimed: Claimed, most: int) -> int:
    """How many recipients, of `most` that the relay takes, a transaction may have that this one is in.

    Fewer after each failure that another recipient may have caused: so none keeps the others waiting for long.
    """
    failures = max(0, claimed.attempts - 1) + max(claimed.rescues, claimed.deferrals)
    return max(1, most >> 2 * failures)


Along = list[tuple[Leased, Permit | None]]


def take_along(
    begun: dict[tuple[int, int], Begun], heap: list[Entry], leased: Leased, shares: Sharing, pacer: Pacer, now: float
) -> None:
    """Begin what may share the transaction of this one, which has begun."""
    first = begun[leased.claimed.id, leased.claimed.token]
    along = taken_along(heap, leased.claimed, first.permit, shares, pacer, now)
    for one, permit in along:
        begun[one.claimed.id, one.claimed.token] = replace(first, probe=False, permit=permit)
    begun[leased.claimed.id, leased.claimed.token] = replace(first, along=tuple(one for one, _ in along))


def taken_along(
    heap: list[Entry], one: Claimed, permit: Permit | None, connection: Sharing, pacer: Pacer, now: float
) -> Along:
    """What may share the transaction of this one, taken from the top of the heap, and the permit of each.

    Where recipients are counted each needs one of its own; where messages are, all go by the `permit` of the first.
    """
    found: Along = []
    if not heap or not may_share(one, heap[0][2].claimed):
        return found
    most = connection.most_recipients
    room = most_for(one, most)
    while heap and may_share(one, heap[0][2].claimed):
        room = min(room, most_for(heap[0][2].claimed, most))
        if len(found) + 2 > room or (pacer.per_recipient and not pacer.is_ready(now)):
            break
        if pacer.per_recipient:
            found.append((heapq.heappop(heap)[2], pacer.take()))
            continue
        if permit is not None:
            permit.sharers += 1
        found.append((heapq.heappop(heap)[2], permit))
    return found
