"""A delivery between its claim and its end, as this worker has it."""

from __future__ import annotations

from dataclasses import dataclass

from outbox.store.claim import Claimed


@dataclass(frozen=True, slots=True)
class Leased:
    """A claimed delivery and how long it may be worked on."""

    claimed: Claimed
    deadline: float  # monotonic seconds: the end of the lease, counted from before the claim


Entry = tuple[int, int, Leased]  # slot, order of arrival


@dataclass(frozen=True, slots=True)
class Begun:
    """How a delivery was admitted."""

    opening: int  # the breaker's `openings`
    probe: bool
    at: float  # monotonic seconds
