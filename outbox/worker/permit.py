"""A permit of a rate, and what came of those who went by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outbox.delivery.reply import Phase

_UNCOUNTED = {Phase.RESOLVE, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.TLS, Phase.AUTH, Phase.LOCAL}
"""Steps before which no relay counts anything."""


@dataclass(slots=True, eq=False)
class Permit:
    """For one message, or one recipient. Monotonic seconds. Not thread-safe: its owner holds a lock."""

    ready: float
    until: float
    reserved: float
    going: int = 1
    """How many deliveries go by it and have not ended: several where messages are counted."""
    is_used: bool = False
    """Whether one of them came so far that the relay may have counted it."""

    def ended(self, phase: Phase) -> bool:
        """One of them ended in this phase. Whether it was the last, and none has used the permit."""
        self.going -= 1
        self.is_used = self.is_used or phase not in _UNCOUNTED
        return self.going == 0 and not self.is_used


FREE = Permit(0.0, 0.0, 0.0)
"""Where there is no rate."""


def span(permits: Sequence[Permit]) -> tuple[float, float] | None:
    """Between which moments what goes by all of these may go; None: at any time."""
    if len(permits) == 1:
        only = permits[0]
        return None if only is FREE else (only.ready, only.until)
    if all(permit is FREE for permit in permits):
        return None
    return max(permit.ready for permit in permits), min(permit.until for permit in permits)
