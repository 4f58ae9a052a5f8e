"""Until when a worker may count on its claims, by its own clock."""

from __future__ import annotations

from outbox.pulse import Pulse


def test_regular_heartbeats_keep_claims() -> None:
    """As long as each heartbeat comes in time, what was claimed at any moment is held."""
    pulse = Pulse(20, 0)
    for second in range(5, 100, 5):
        assert pulse.beat(second, second + 0.1)
    assert pulse.holds(1, 99)
    assert pulse.alive(99)


def test_without_a_heartbeat_nothing_is_held() -> None:
    """Once the others may have declared it dead, a worker holds nothing, even before it beats again."""
    pulse = Pulse(20, 0)
    assert pulse.holds(1, 17.9)
    assert not pulse.holds(1, 18.1)
    assert not pulse.alive(18.1)


def test_a_late_heartbeat_does_not_bring_old_claims_back() -> None:
    """What was claimed before the gap stays void; what is claimed after it is held."""
    pulse = Pulse(20, 0)
    assert not pulse.beat(30, 31)
    assert pulse.alive(32)
    assert not pulse.holds(1, 32)
    assert not pulse.holds(30.5, 32)
    assert pulse.holds(31.5, 32)


def test_a_heartbeat_that_takes_long_counts_from_its_beginning() -> None:
    """The database may have stamped it at any moment in between."""
    pulse = Pulse(20, 0)
    assert pulse.beat(5, 15)
    assert not pulse.alive(23.5)
    assert not Pulse(20, 0).beat(5, 18.5)
