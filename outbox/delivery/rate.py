"""How fast something goes, from a count that only grows."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 60.0


class Rate:
    """The mean over the last WINDOW_SECONDS, or since the start. Not for several threads."""

    def __init__(self, now: float) -> None:
        """`now`: monotonic seconds, as usual here."""
        self._seen = deque([(now, 0)])

    def seen(self, count: int, now: float) -> float:
        """The count stands at `count`; how much it grew each second."""
        while len(self._seen) > 1 and now - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        self._seen.append((now, count))
        return round((count - before) / (now - then), 3) if now > then else 0.0
