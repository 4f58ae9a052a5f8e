"""Mails per second, as a worker tells of itself."""

from __future__ import annotations

from outbox.delivery.rate import Rate


def test_it_is_the_mean_of_the_last_minute() -> None:
    """Since the start at first; what was longer ago than a minute no longer counts."""
    rate = Rate(100.0)
    assert rate.seen(0, 100.0) == 0.0
    assert rate.seen(50, 105.0) == 10.0
    assert [rate.seen(50, 105.0 + 5 * step) for step in range(1, 12)][-1] == round(50 / 60, 3)
    assert rate.seen(50, 165.0) == 0.0


def test_seldom_looks_are_no_fault() -> None:
    """Where the last look is longer ago than a minute, it is the mean since then."""
    rate = Rate(0.0)
    rate.seen(10, 10.0)
    assert rate.seen(110, 210.0) == 0.5
