"""Which of the connections that wait for mail is woken for the next message."""

from __future__ import annotations

import threading

import pytest

from outbox.worker.waiters import Waiters


def woken(waiters: Waiters, are_open: list[bool], most: int) -> list[int]:
    """Which of those that begin to wait in this order are woken for so many messages."""
    begun = [waiters.begin(is_open=is_open) for is_open in are_open]
    waiters.wake(most)
    found = [number for number, waiter in enumerate(begun) if waiter.wait(0)]
    for waiter in begun:
        waiters.give_up(waiter)
    return found


@pytest.mark.parametrize(
    ("are_open", "messages", "expected"),
    [
        ([True, True, True], 1, [2]),  # the last used
        ([True, False, False], 1, [0]),  # the open one, though others were last
        ([True, True, False, False], 2, [0, 1]),
        ([True, False, False], 2, [0, 2]),  # none is open for the second message
        ([False, False], 1, [1]),
        ([True, False], 5, [0, 1]),  # more messages than connections
        ([True, True], 0, []),
    ],
)
def test_the_open_connection_that_was_used_last_comes_first(
    are_open: list[bool], messages: int, expected: list[int]
) -> None:
    """A closed one is woken where none that is open waits."""
    assert woken(Waiters(), are_open, messages) == expected


def test_one_that_gave_up_is_not_woken() -> None:
    """The message goes to another one."""
    waiters = Waiters()
    first, second = waiters.begin(is_open=True), waiters.begin(is_open=True)
    assert not second.wait(0)
    waiters.give_up(second)
    waiters.wake(1)
    assert first.wait(0)
    assert not second.wait(0)


def test_a_thread_is_woken() -> None:
    """At once, not at the end of its time."""
    waiters = Waiters()
    waiter = waiters.begin(is_open=False)
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(waiter.wait(30)))
    thread.start()
    waiters.wake_all()
    thread.join(10)
    assert got == [True]
