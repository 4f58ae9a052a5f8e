"""The states of a batch and of its canary. Pure."""

from __future__ import annotations

import math
from enum import StrEnum

LEAST_CANARY = 20
"""Deliveries: of fewer, one that is refused would say too much."""


class BatchState(StrEnum):
    """Whether more is to come."""

    FILLING = "filling"  # more portions may come; so also after a crash in the middle
    FILLED = "filled"  # all of it is enqueued
    CANCELLED = "cancelled"  # nothing is added any more, and what was queued is cancelled


class CanaryState(StrEnum):
    """What is known of the deliveries that go first."""

    RUNNING = "running"  # all others wait for their end
    FAILED = "failed"  # too many went wrong: the others wait for a person
    PASSED = "passed"  # the others are being released
    RELEASED = "released"  # none waits any more


def canary_size(share: float, deliveries: int) -> int:
    """How many of so many deliveries go first."""
    return max(math.ceil(share * deliveries), LEAST_CANARY)


def goes_wrong(wrong: int, size: int, limit: float) -> bool:
    """Whether so many of the canary's deliveries are too many."""
    return wrong > limit * size
