"""How many deliveries go by how many permits, where a rate counts messages however many recipients share them."""

from __future__ import annotations

from collections.abc import Sequence

from outbox.store.claimed import Claimed
from outbox.worker.leased import Entry, Leased
from outbox.worker.together import may_share

_ROWS = 500  # the most that is claimed at once

_TRY_SECONDS = 5.0  # before it is tried again whether recipients share transactions


class Packing:
    """How much is claimed for each permit where a rate counts messages: as many as lately shared a transaction."""

    def __init__(self, per_recipient: bool) -> None:
        self.per_recipient = per_recipient
        self.most = 1
        """Recipients that a transaction may have."""
        self._each = _ROWS  # nothing is known yet
        self._tries_at = 0.0

    def rows(self, permits: int) -> int:
        """How many deliveries to claim by so many permits."""
        return permits * min(self._each, self.most, max(1, _ROWS // max(1, permits)))

    def fitting(self, claimed: list[Leased], permits: int, now: float) -> tuple[list[Leased], list[Leased]]:
        """Those that may go by so many permits, and those that have to wait."""
        sizes = _sizes(claimed, self.most)
        if not sizes:
            return claimed, []
        if len(claimed) >= 2 * len(sizes):  # the last may have been cut off
            self._each = min(self.most, 2 * max(sizes))
        elif len(sizes) > 1:
            self._tries_at = now + _TRY_SECONDS
            self._each = 1
        elif now >= self._tries_at:  # one alone says nothing
            self._each = min(self.most, 2 * self._each)
        fits = sum(sizes[:permits])
        return claimed[:fits], claimed[fits:]

    def kept(self, waiting: Sequence[Entry], permits: int | None) -> int | None:
        """How many of these, in their order, may go by so many permits; None: all."""
        if self.per_recipient or permits is None:
            return permits
        return sum(_sizes([leased for _, _, leased in waiting], self.most)[:permits])

    def transactions(self, waiting: Sequence[Entry]) -> int:
        """How many permits these take."""
        if self.per_recipient:
            return len(waiting)
        return len(_sizes([leased for _, _, leased in sorted(waiting)], self.most))


def _sizes(leased: Sequence[Leased], most: int) -> list[int]:
    """Of the transactions that they make, in their order."""
    sizes: list[int] = []
    last: Claimed | None = None
    for one in leased:
        if last is not None and sizes[-1] < most and may_share(last, one.claimed):
            sizes[-1] += 1
        else:
            sizes.append(1)
        last = one.claimed
    return sizes
