"""Until when a worker may count on its claims, by its own clock."""

from __future__ import annotations

import pytest

from outbox.worker.lease_guard import LeaseGuard


def test_regular_heartbeats_keep_claims() -> None:
    """As long as each heartbeat comes in time, what was claimed at any moment is held."""
    lease_guard = LeaseGuard(20, 0)
    for second in range(5, 100, 5):
        assert lease_guard.beat(second, second + 0.1)
    assert lease_guard.holds(1, 99)
    assert lease_guard.alive(99)


def test_without_a_heartbeat_nothing_is_held() -> None:
    """Once the others may have declared it dead, a worker holds nothing, even before it beats again."""
    lease_guard = LeaseGuard(20, 0)
    assert lease_guard.holds(1, 17.9)
    assert not lease_guard.holds(1, 18.1)
    assert not lease_guard.alive(18.1)


def test_a_late_heartbeat_does_not_bring_old_claims_back() -> None:
    """What was claimed before the gap stays void; what is claimed after it is held."""
    lease_guard = LeaseGuard(20, 0)
    assert not lease_guard.beat(30, 31)
    assert lease_guard.alive(32)
    assert not lease_guard.holds(1, 32)
    assert not lease_guard.holds(30.5, 32)
    assert lease_guard.holds(31.5, 32)


def test_a_heartbeat_that_takes_long_counts_from_its_beginning() -> None:
    """The database may have stamped it at any moment in between."""
    lease_guard = LeaseGuard(20, 0)
    assert lease_guard.beat(5, 15)
    assert not lease_guard.alive(23.5)
    assert not LeaseGuard(20, 0).beat(5, 18.5)


@pytest.mark.parametrize("slept", [3.0, 3600.0])
def test_a_wall_clock_that_jumps_ahead_voids_claims_until_the_next_heartbeat(slept: float) -> None:
    """A virtual machine may have been stopped meanwhile, and its monotonic clock does not know."""
    ahead = 100.0
    lease_guard = LeaseGuard(20, 0, ahead=lambda: ahead)
    assert lease_guard.beat(5, 5.1)
    ahead += slept
    assert not lease_guard.alive(6)
    assert not lease_guard.holds(5.5, 6)
    assert not lease_guard.beat(7, 7.1)
    assert lease_guard.alive(8)
    assert not lease_guard.holds(5.5, 8)
    assert lease_guard.holds(7.5, 8)


@pytest.mark.parametrize("looks", [0, 1])
def test_a_machine_that_stands_still_within_a_heartbeat_holds_nothing(looks: int) -> None:
    """Between whichever two looks at the clocks that is: the jump must not be taken for how they always were."""
    readings = iter([100.0] * (1 + looks))
    lease_guard = LeaseGuard(20, 0, ahead=lambda: next(readings, 3700.0))
    lease_guard.beat(5, 5.1)
    assert not lease_guard.holds(1, 6)


def test_a_wall_clock_that_is_put_right_little_by_little_or_set_back_voids_nothing() -> None:
    """Nobody has slept."""
    ahead = 100.0
    lease_guard = LeaseGuard(20, 0, ahead=lambda: ahead)
    for second, ahead in ((5, 100.5), (10, 101.5), (15, 50.0), (20, 50.1)):  # noqa: B007
        assert lease_guard.holds(1, second)
        assert lease_guard.beat(second, second + 0.1)


def test_a_little_sleep_counts_towards_the_limit() -> None:
    """A jump too small to void claims by itself still makes the heartbeat older."""
    ahead = 0.0
    lease_guard = LeaseGuard(20, 0, ahead=lambda: ahead)
    ahead = 1.9
    assert lease_guard.alive(16.0)
    assert not lease_guard.alive(16.2)


def test_a_database_clock_that_went_further_than_ours_voids_claims() -> None:
    """With all clocks of a machine stopped, only another's can tell."""
    lease_guard = LeaseGuard(20, 0)
    assert not lease_guard.beat(5, 5.1, slept=True)
    assert not lease_guard.holds(4, 6)
    assert lease_guard.holds(5.5, 6)
