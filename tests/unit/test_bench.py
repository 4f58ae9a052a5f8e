"""The parts of the benchmarks that need neither a server nor time."""

from __future__ import annotations

import pytest

from benchmarks import mails, stats


def test_a_rate_is_that_of_the_time_between() -> None:
    """Five events in one second are four intervals; the order of the moments does not matter."""
    assert stats.rate([0, 250_000_000, 1_000_000_000, 500_000_000, 750_000_000]) == 4.0
    with pytest.raises(ValueError, match="two moments"):
        stats.rate([1])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    """The nearest rank, never something between two values that nobody measured."""
    assert stats.percentile(list(range(100, 0, -1)), share) == value


def test_a_summary_has_median_and_range() -> None:
    """Of four repetitions the median is between the middle two."""
    assert stats.summary([4.0, 1.0, 3.0, 100.0]) == stats.Summary(3.5, 1.0, 100.0, 4)


def test_the_bare_loop_sends_different_mails_of_one_size() -> None:
    """Some 2 KB each, and no two with one Message-ID, or the sink could not tell them apart."""
    built = list(mails.wire(3))
    assert {len(mail) for mail in built} == {len(built[0])}
    assert 2000 < len(built[0]) < 3000
    assert len({line for mail in built for line in mail.split(b"\r\n") if line.startswith(b"Message-ID")}) == 3
