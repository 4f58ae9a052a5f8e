"""Shares of the claims: what waits in each lane gets its part, however small the single claim."""

from __future__ import annotations

from collections import Counter

import pytest

from outbox.delivery.lane_shares import SLOTS, Shares, Turns, cut_short

HIGH, HIGH_RETRY, NORMAL, RETRY, BULK, BULK_RETRY = sorted(SLOTS)
MANY = 10**6


def taken(shares: Shares, limit: int, waiting: Counter[int]) -> Counter[int]:
    """What a claim takes of what waits."""
    found: Counter[int] = Counter()
    for slot, share in shares:
        found[slot] = min(share, limit - found.total(), waiting[slot])
    return found


def after(claims: int, limit: int, *waiting: int) -> Counter[int]:
    """What so many claims take where there is more of everything that waits than is claimed."""
    turns, found = Turns(), Counter[int]()
    for _ in range(claims):
        found += taken(turns.next(limit), limit, Counter(dict.fromkeys(waiting, MANY)))
    return found


@pytest.mark.parametrize("limit", [*range(1, 20), 64, 512])
def test_all_get_their_share(limit: int) -> None:
    """Of eight places a retry gets one and bulk two, every fourth of which is a retry's."""
    got = after(256, limit, NORMAL, RETRY, BULK, BULK_RETRY)
    assert got.total() == 256 * limit
    assert got[RETRY] == pytest.approx(got.total() / 8, abs=2)
    assert got[BULK] + got[BULK_RETRY] == pytest.approx(got.total() / 4, abs=2)
    assert got[BULK_RETRY] == pytest.approx(got.total() / 16, rel=0.1, abs=2)


@pytest.mark.parametrize("limit", [*range(1, 20), 64])
def test_retries_of_the_high_lane_leave_room(limit: int) -> None:
    """They get a quarter, however small the claims: the rest is for new mail."""
    got = after(256, limit, HIGH_RETRY, NORMAL)
    assert got[HIGH_RETRY] == pytest.approx(256 * limit / 4, abs=2)
    assert got[NORMAL] >= 256 * limit * 3 / 8


@pytest.mark.parametrize("limit", [1, 3, 8, 64])
def test_bulk_retries_do_not_wait_for_the_last_new_one(limit: int) -> None:
    """A newsletter of a million, and those that were greylisted at its beginning."""
    got = after(256, limit, BULK, BULK_RETRY)
    assert got[BULK_RETRY] == pytest.approx(256 * limit / 16, rel=0.1, abs=2)
    assert got.total() == 256 * limit


@pytest.mark.parametrize("limit", [1, 2, 8, 64])
def test_the_high_lane_goes_first(limit: int) -> None:
    """Whoever's turn it is."""
    assert after(16, limit, *SLOTS) == Counter({HIGH: 16 * limit})


@pytest.mark.parametrize(
    ("found", "limit", "short"),
    [
        ({}, 1, True),  # it was somebody's turn who has nothing
        ({}, 64, False),  # there is nothing
        ({NORMAL: 1}, 7, False),
        ({NORMAL: 40}, 64, True),
        ({RETRY: 8}, 64, True),
        ({RETRY: 7}, 64, False),
    ],
)
def test_what_a_share_has_cut_short(found: dict[int, int], limit: int, short: bool) -> None:
    """Another look is worth its price only then."""
    assert cut_short(Turns().next(limit), found, limit) is short
