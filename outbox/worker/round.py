"""What came of one transaction, while it is decided what it means for each recipient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from outbox.delivery.blame import Ruling
from outbox.delivery.breaker import cause_of
from outbox.delivery.reply import Result
from outbox.worker.leased import Leased


class Round:
    """Several recipients may share one result, which is then the same object."""

    def __init__(self, results: Sequence[Result | None], chance: float) -> None:
        """`chance`: random, 0 ≤ chance < 1; one for all, so that those who wait fall due together."""
        self.chance = chance
        self.is_several = len(results) > 1
        self.left: list[Leased] = []
        """What is to be offered again."""
        self._shared = Counter(map(id, results)) if self.is_several else {}
        self._rulings: dict[int, Ruling] = {}
        self._turned_away: set[int] = set()

    def is_shared(self, result: Result) -> bool:
        """Whether it is that of more than one."""
        return self.is_several and self._shared[id(result)] > 1

    def is_known_to_turn_away(self, result: Result) -> bool:
        """Whether it was found to mean that the relay admits no more connections."""
        return id(result) in self._turned_away

    def turned_away(self, result: Result) -> bool:
        """It means that; whether that was known."""
        known = id(result) in self._turned_away
        self._turned_away.add(id(result))
        return known

    def ruling_on(self, result: Result) -> Ruling | None:
        """What was ruled on the fault that it is: shared by many, it is still one. None: it is to be judged."""
        return self._rulings.get(id(result)) if self._rulings else None

    def judged(self, result: Result, ruling: Ruling) -> None:
        """It was."""
        if self.is_several and cause_of(result) is not None:
            self._rulings[id(result)] = ruling
