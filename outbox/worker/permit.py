"""The right to begin one transaction, by a rate that all workers keep together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Permit:
    """For one transaction. Monotonic seconds."""

    ready: float
    until: float
    reserved: float
    dot_at: float
    """Before which the final dot is not sent: all come to the relay equally late, whatever each had to do before."""
    sharers: int = 1
    """Deliveries under way that go by it."""
    went: bool = False
    """One of them came so far that the relay may have counted it."""
