"""Which deliveries of one message share a transaction, and how many."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from outbox.delivery.reply import Result
from outbox.message.values import Envelope
from outbox.store.claimed import Claimed
from outbox.worker.leased import Entry, Leased
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
        when: Callable[[], None] | None = None,
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


def messages_in(heap: list[Entry]) -> int:
    """Of how many messages these deliveries are."""
    return len({leased.claimed.message.pk for _, _, leased in heap})


def taken_along(
    heap: list[Entry], one: Claimed, connection: Sharing, pacer: Pacer, permit: Permit, now: float
) -> list[tuple[Leased, Permit]]:
    """What may share the transaction of this one, which goes by `permit`, taken from the top of the heap: each with a
    permit of its own where recipients are counted."""
    found: list[tuple[Leased, Permit]] = []
    if not heap or not may_share(one, heap[0][2].claimed):
        return found
    most = connection.most_recipients
    room = most_for(one, most)
    while heap and may_share(one, heap[0][2].claimed):
        room = min(room, most_for(heap[0][2].claimed, most))
        if len(found) + 2 > room or (own := pacer.along(permit, now)) is None:
            break
        found.append((heapq.heappop(heap)[2], own))
    return found
