"""Shares of the claims: what waits in each lane gets its part, however small the single claim."""

from __future__ import annotations

from collections import Counter

import pytest

from outbox.states import Lane
from outbox.turns import SLOTS, Shares, Turns

NORMAL, RETRY, BULK = Lane.NORMAL.slot(retry=False), Lane.NORMAL.slot(retry=True), Lane.BULK.slot(retry=False)


def taken(shares: Shares, limit: int, waiting: Counter[int]) -> Counter[int]:
    """What a claim takes of what waits."""
    found: Counter[int] = Counter()
    for slot, share in shares:
        found[slot] = min(share, limit - found.total(), waiting[slot])
    return found


@pytest.mark.parametrize("limit", [*range(1, 20), 64, 512])
def test_all_get_their_share(limit: int) -> None:
    """Of eight places a retry gets one and bulk two, while there is more of everything than is claimed."""
    turns, waiting, got = Turns(), Counter(dict.fromkeys((NORMAL, RETRY, BULK), 10**6)), Counter[int]()
    for _ in range(240):
        got += taken(turns.next(limit), limit, waiting)
    assert got.total() == 240 * limit
    assert got[RETRY] == pytest.approx(got.total() / 8, abs=2)
    assert got[BULK] == pytest.approx(got.total() / 4, abs=2)


@pytest.mark.parametrize("limit", [1, 3, 8, 64])
def test_what_nobody_else_wants_is_there_for_the_last(limit: int) -> None:
    """Bulk mail alone fills each claim."""
    turns = Turns()
    for _ in range(10):
        assert taken(turns.next(limit), limit, Counter({BULK: 10**6}))[BULK] == limit


def test_the_high_lane_goes_first() -> None:
    """Whoever's turn it is."""
    turns = Turns()
    for limit in (1, 2, 8, 64):
        high = SLOTS[0]
        assert taken(turns.next(limit), limit, Counter(dict.fromkeys(SLOTS, 1000)))[high] == limit
