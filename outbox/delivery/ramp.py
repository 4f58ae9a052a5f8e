"""How many connections may work at once after an outage, a pause or a large requeue. Pure.

What has piled up goes out by one connection first, then by twice as many each time: a relay that has just come back,
or that counts what comes in at once, is not hit by all of it.
"""

from __future__ import annotations

import math

_SAME_SECONDS = 1.0


class Ramp:
    """For one worker's connections to one transport. Times are monotonic seconds. `begin` is for any thread."""

    def __init__(self, step: float, most: int) -> None:
        """`step`: seconds until twice as many may work; 0: no ramp. `most`: connections that the worker has."""
        self._step = step
        self._most = most
        self.began = self._ends = -math.inf

    def begin(self, at: float) -> None:
        """The relay came back then, or a backlog was let go; others may say so of the same, a moment later."""
        if abs(at - self.began) > _SAME_SECONDS:
            self.began, self._ends = at, at + self._step * (self._most - 1).bit_length()

    def limit(self, now: float) -> int | None:
        """How many may work now; None: all."""
        if now >= self._ends:
            return None
        return min(self._most, 1 << max(0, int((now - self.began) // self._step)))

    def left(self, now: float) -> float:
        """Seconds until all may work."""
        return max(0.0, self._ends - now)

    def wait(self, now: float) -> float:
        """Seconds until more may work than now, where there is a limit."""
        return self._step - (now - self.began) % self._step
