"""Receivers of a worker's signals that are slow, or hang: they hold up nobody, and it is told."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask

from outbox import delivery_failed, delivery_sent
from outbox.core.events import Event, EventName
from outbox.extension.receivers import Receivers
from tests.story.stage import until


def sent(number: int) -> Event:
    return Event(EventName.SENT, f"<{number}@example.org>", {"delivery": number})


def test_one_that_hangs_is_told_of_nothing_more_until_it_returns(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told of all; once it has returned it is told again, and what it missed is counted."""
    app, gate = Flask("app"), threading.Event()
    hung: list[int] = []
    told: list[int] = []

    def hangs(app: Flask, *, delivery_id: int, **more: Any) -> None:
        hung.append(delivery_id)
        gate.wait()

    def listens(app: Flask, *, delivery_id: int, **more: Any) -> None:
        told.append(delivery_id)

    receivers = Receivers(app, patience=0.05)
    with delivery_sent.connected_to(hangs), delivery_sent.connected_to(listens):
        for number in range(3):
            receivers.observe(sent(number))
        until(lambda: [receivers.look(), len(told) == 3][1], "the other is told")
        receivers.observe(sent(3))
        until(lambda: len(told) == 4, "of what comes later as well")
        assert hung == [0]
        gate.set()
        until(lambda: [receivers.observe(sent(4)), len(hung) > 1][1], "it is told again")
        receivers.close(5)
    assert set(hung[1:]) == {4}
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "a receiver of outbox-delivery-sent has not returned for" in said
    assert "hangs" in said
    assert "receiver calls were dropped" in said


def test_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """What comes on top is dropped and counted, and so is what the end leaves unsaid."""
    app, gate = Flask("app"), threading.Event()
    told: list[int] = []

    def slow(app: Flask, *, delivery_id: int, **more: Any) -> None:
        told.append(delivery_id)
        gate.wait()

    receivers = Receivers(app, capacity=2)
    with delivery_sent.connected_to(slow):
        receivers.observe(sent(0))
        until(lambda: told, "the first is told")
        for number in range(1, 6):
            receivers.observe(sent(number))
        receivers.look()
        receivers.close(0.01)
        gate.set()
        receivers.close(5)
    assert told == [0, 1, 2]
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("3 receiver calls were dropped") for line in lines)
    assert any(line.startswith("3 receiver calls were not made") for line in lines)


def test_no_thread_is_started_where_nobody_listens() -> None:
    """Signals that no receiver is connected to cost next to nothing."""
    before = threading.active_count()
    receivers = Receivers(Flask("app"))
    with delivery_failed.connected_to(lambda app, **more: None):
        for number in range(10):
            receivers.observe(sent(number))
    assert threading.active_count() == before


def test_one_that_ends_its_thread_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """SystemExit is not an Exception; the next call is made all the same."""
    told: list[int] = []

    def exits(app: Flask, *, delivery_id: int, **more: Any) -> None:
        told.append(delivery_id)
        raise SystemExit

    receivers = Receivers(Flask("app"))
    with delivery_sent.connected_to(exits):
        receivers.observe(sent(0))
        receivers.observe(sent(1))
        receivers.close(5)
    assert told == [0, 1]
    assert "SystemExit" in caplog.text
