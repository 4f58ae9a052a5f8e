"""What others ask one claimer for: certain deliveries, or a look at all that is due."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable

from outbox.core.clock import monotonic


class Asked:
    """Thread-safe. What is dropped here stays due in the database."""

    def __init__(self, most: int) -> None:
        """`most`: so many ids may wait; who asks for more waits himself."""
        self._most = most
        self._ids: dict[int, None] = {}  # in their order, each once
        self._room = threading.Condition()
        self._sweep_at = math.inf
        self.sweeps = False  # whether the claimer is looking at all that is due

    def ask(self, ids: Iterable[int], patience: float) -> bool:
        """Have these claimed, once there is room; False where there is none for `patience` seconds: they are left."""
        with self._room:
            if not self._room.wait_for(lambda: len(self._ids) < self._most, patience):
                return False
            self._ids.update(dict.fromkeys(ids))
            return True

    def take(self, most: int) -> list[int]:
        """The next ones, to be claimed."""
        with self._room:
            taken = list(self._ids)[:most]
            for one in taken:
                del self._ids[one]
            self._room.notify_all()
        return taken

    def drop(self) -> None:
        """Nobody can claim them now."""
        with self._room:
            self._ids.clear()
            self._room.notify_all()

    def __len__(self) -> int:
        """How many wait to be claimed."""
        return len(self._ids)

    @property
    def is_busy(self) -> bool:
        """Whether there may be something to claim."""
        return self.sweeps or len(self._ids) > 0

    def sweep(self, delay: float = 0.0) -> None:
        """Have a look taken at all that is due, in so many seconds."""
        with self._room:
            self._sweep_at = min(self._sweep_at, monotonic() + delay)

    def is_sweep_due(self) -> bool:
        """Whether it is time for one; each is said once."""
        with self._room:
            if monotonic() < self._sweep_at:
                return False
            self._sweep_at = math.inf
            return True
