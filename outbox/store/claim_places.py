"""Where a claim begins in each index range: where the one before it ended, and at the start only now and then.

A claim leaves behind index entries of rows that are due no longer. They vanish only when no transaction can see them
any more, so that one long report elsewhere would make each claim slower than the last. And while some mail is paused, a
search from the start reads all of it that is due. So the end of a search is remembered, also of one that has found
nothing, and an idle worker reads only what came due since. What became due behind its back is found by the next search.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from outbox.delivery.lane_shares import SLOTS

SEARCH_SECONDS = 5.0
"""Seconds, at least, between two searches from the start while some mail is paused."""

SWEEP_SHARE = 0.05
"""The most of its time that a worker spends on searches from the start."""

START = (datetime(1970, 1, 1, tzinfo=UTC), 0)

Place = tuple[datetime, int]
"""(due time, id): where a claim ended in an index range."""


@dataclass(slots=True)
class Places:
    """Those of one worker, for as long as the same mail is paused. Times are monotonic seconds."""

    paused: bool
    """Whether some mail is."""
    at: dict[int, Place] = field(default_factory=dict)
    """By slot; one that is not in it begins at the start."""
    again: bool = False
    """Whether the next claim begins at the start whatever the time: something behind its back is due again."""
    _search_at: float = 0.0  # when the next claim is to begin at the start
    _heads_at: float = 0.0  # the same of a probe: until then one that found nothing is followed by plain claims

    def is_search(self, now: float, *, probe: bool) -> bool:
        """Whether the next claim begins at the start."""
        return self.again or now >= self._search_at or self.is_by_heads(now, probe=probe)

    def is_by_heads(self, now: float, *, probe: bool) -> bool:
        """Whether the next claim is to choose among the first of each range."""
        return probe and now >= self._heads_at

    def found(self, ends: Iterable[tuple[int, Place]]) -> None:
        """A claim that began at `at` ended there: by slot."""
        self.at.update(ends)

    def searched(
        self,
        began: float,
        ended: float,
        ends: Iterable[tuple[int, Place]],
        *,
        until: datetime | None,
        by_heads: bool,
    ) -> None:
        """A claim that began at the start ended there: by slot.

        `until`: what was due by then, and was not found, is paused or another's; None: there may be more of it.
        """
        self.at = dict(ends)
        found = bool(self.at)
        if until is not None:
            for slot in SLOTS:
                self.at.setdefault(slot, (until, 0))
        pause = (ended - began) / SWEEP_SHARE
        self._search_at = ended + (max(pause, SEARCH_SECONDS) if self.paused else pause)
        if by_heads and self.paused and not found:
            self._heads_at = self._search_at
