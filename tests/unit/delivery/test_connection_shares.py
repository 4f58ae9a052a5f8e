"""How a limit of connections is divided: never exceeded, all of it used, and as fair as it goes."""

from __future__ import annotations

import random

import pytest

from outbox.delivery.connection_shares import Share, fair, may_open, to_hold


@pytest.mark.parametrize(
    ("limit", "wants", "expected"),
    [
        (3, {1: 8}, {1: 3}),
        (3, {1: 8, 2: 8}, {1: 2, 2: 1}),
        (8, {1: 1, 2: 8, 3: 8}, {1: 1, 2: 4, 3: 3}),
        (2, {1: 4, 2: 0, 3: 4, 4: 4}, {1: 1, 2: 0, 3: 1, 4: 0}),
        (9, {1: 2, 2: 2}, {1: 2, 2: 2}),
    ],
)
def test_each_gets_as_much_as_the_others(limit: int, wants: dict[int, int], expected: dict[int, int]) -> None:
    """Unless it wants less."""
    assert fair(limit, wants) == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_sum_is_never_exceeded_and_soon_fair(seed: int) -> None:
    """Workers come, go and look in any order, open what they may, and take their time to close."""
    chance = random.Random(seed)
    limit, shares, is_open = chance.randint(1, 9), {}, dict[int, int]()

    def look(me: int) -> None:
        before = shares.get(me, Share(0, 0))
        shares[me] = Share(before.held, 8)
        may = may_open(limit, shares, me)
        shares[me] = Share(to_hold(limit, shares, me, is_open[me]), 8)
        may = max(may_open(limit, shares, me), 0)
        is_open[me] = chance.randint(min(may, is_open[me]), max(may, is_open[me]))  # some are still to be closed
        assert sum(is_open.values()) <= sum(share.held for share in shares.values()) <= limit

    for _ in range(200):
        if chance.random() < 0.1:
            is_open.setdefault(chance.randint(1, 6), 0)
        elif is_open and chance.random() < 0.05:
            gone = chance.choice(sorted(is_open))
            del is_open[gone]
            shares.pop(gone, None)
        elif is_open:
            look(chance.choice(sorted(is_open)))
    for _ in range(3 * limit):
        for one in sorted(is_open):
            look(one)
            is_open[one] = may_open(limit, shares, one)
    assert {one: shares[one].held for one in is_open} == fair(limit, dict.fromkeys(is_open, 8))
