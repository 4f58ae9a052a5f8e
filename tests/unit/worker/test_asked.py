"""What tasks ask a claimer for waits in a bounded place."""

from __future__ import annotations

import threading

from outbox.worker.asked import Asked


def test_each_is_taken_once_in_its_order() -> None:
    """A doubled task adds nothing."""
    asked = Asked(10)
    assert asked.ask([3, 1], 0.0)
    assert asked.ask([1, 2], 0.0)
    assert asked.take(2) == [3, 1]
    assert asked.take(5) == [2]
    assert asked.take(5) == []


def test_who_asks_waits_for_room() -> None:
    """Until the claimer has taken some, or for as long as the patience lasts."""
    asked = Asked(2)
    assert asked.ask(range(5), 0.0)  # a whole batch, where there was room for any
    assert not asked.ask([7], 0.0)
    said: list[bool] = []
    waiting = threading.Thread(target=lambda: said.append(asked.ask([8], 30.0)))
    waiting.start()
    assert asked.take(5) == [0, 1, 2, 3, 4]
    waiting.join(30.0)
    assert said == [True]
    assert asked.take(5) == [8]


def test_what_is_dropped_leaves_room() -> None:
    """It stays due in the database."""
    asked = Asked(1)
    asked.ask([1], 0.0)
    asked.drop()
    assert asked.ask([2], 0.0)
    assert asked.take(5) == [2]


def test_a_sweep_is_due_once_at_the_earliest_time() -> None:
    """However many ask for one."""
    asked = Asked(1)
    assert not asked.is_sweep_due()
    asked.sweep(3600.0)
    assert not asked.is_sweep_due()
    asked.sweep()
    asked.sweep(3600.0)
    assert asked.is_sweep_due()
    assert not asked.is_sweep_due()
