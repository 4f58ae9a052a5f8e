"""How a step of another clock is told from its ordinary going, and from a slow answer."""

from __future__ import annotations

import pytest

from outbox.core.clock import Steps


def test_a_clock_that_goes_on_is_not_stepped() -> None:
    """Neither at the first reading, nor when time passes, nor when it drifts a little each time."""
    steps = Steps(5.0)
    assert steps.saw(1000.0, 0.0, 0.1) == 0.0
    assert steps.saw(1003.0, 3.0, 3.1) == 0.0
    for minute in range(1, 100):
        assert steps.saw(1000.0 + minute * 61.0, minute * 60.0, minute * 60.0) == 0.0


@pytest.mark.parametrize("step", [3600.0, -3600.0, 7.0, -7.0])
def test_a_step_is_told_once(step: float) -> None:
    """With its sign and size; the next reading is compared with the clock as it is now."""
    steps = Steps(5.0)
    steps.saw(10_000.0, 0.0, 0.1)
    assert steps.saw(10_001.0 + step, 1.0, 1.1) == pytest.approx(step, abs=0.2)
    assert steps.saw(10_002.0 + step, 2.0, 2.1) == 0.0


def test_a_slow_answer_is_no_step() -> None:
    """A reading may be from any moment between question and answer."""
    steps = Steps(5.0)
    steps.saw(1000.0, 0.0, 30.0)
    assert steps.saw(1031.0, 31.0, 31.1) == 0.0
    assert steps.saw(1032.0, 32.0, 90.0) == 0.0
    assert steps.saw(1091.0, 91.0, 91.1) == 0.0
