"""When a paused domain is offered mail of a sender that it has not refused."""

from __future__ import annotations

import pytest

from outbox.delivery.comparisons import FIRST_WAIT, LONGEST_WAIT, Comparisons

SLOW, OTHER = "slow.example", "other.example"
A, B = "a@ours.example", "b@ours.example"


@pytest.fixture
def comparisons() -> Comparisons:
    """Of a worker that has seen one sender refused in a domain, and finds it paused at 0."""
    made = Comparisons()
    made.refused(SLOW, A)
    assert made.due([SLOW], 0.0, 9) == []
    return made


def test_another_sender_is_looked_for_after_a_probe_interval(comparisons: Comparisons) -> None:
    """And again after each, while there is none."""
    assert comparisons.due([SLOW], FIRST_WAIT - 1, 9) == []
    assert comparisons.due([SLOW], FIRST_WAIT, 9) == [(SLOW, [A])]
    assert comparisons.due([SLOW], FIRST_WAIT + 1, 9) == []
    assert comparisons.due([SLOW], 2 * FIRST_WAIT, 9) == [(SLOW, [A])]


def test_each_that_is_refused_doubles_the_wait(comparisons: Comparisons) -> None:
    """A domain that refuses everybody is not asked without end."""
    now = FIRST_WAIT
    for number in range(12):
        assert comparisons.due([SLOW], now, 9)
        comparisons.refused(SLOW, f"{number}@ours.example")
        wait = min(2 * FIRST_WAIT * 2**number, LONGEST_WAIT)
        assert comparisons.due([SLOW], now + wait - 1, 9) == []
        now += wait


def test_the_same_sender_again_changes_nothing(comparisons: Comparisons) -> None:
    """The probe of a pause is most likely its."""
    assert comparisons.due([SLOW], FIRST_WAIT, 9)
    comparisons.refused(SLOW, A)
    assert comparisons.due([SLOW], 2 * FIRST_WAIT, 9)


def test_a_pause_that_somebody_else_set_is_compared_with_nobody() -> None:
    """Another worker, or this one before it was started anew."""
    made = Comparisons()
    assert made.due([SLOW], 0.0, 9) == []
    assert made.due([SLOW], FIRST_WAIT, 9) == [(SLOW, [])]


def test_what_has_no_turn_keeps_it(comparisons: Comparisons) -> None:
    """One probe at a time, while the relay is out of use."""
    comparisons.due([SLOW, OTHER], 0.0, 9)
    assert [one for one, _ in comparisons.due([SLOW, OTHER], FIRST_WAIT, 1)] == [OTHER]
    assert [one for one, _ in comparisons.due([SLOW, OTHER], FIRST_WAIT + 1, 1)] == [SLOW]


def test_a_pause_that_is_over_is_forgotten(comparisons: Comparisons) -> None:
    """The next one begins anew."""
    comparisons.due([], FIRST_WAIT, 9)
    assert comparisons.due([SLOW], FIRST_WAIT, 9) == []
    assert comparisons.due([SLOW], 2 * FIRST_WAIT, 9) == [(SLOW, [])]
