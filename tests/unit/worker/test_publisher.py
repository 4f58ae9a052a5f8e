"""Commits are told of by a thread: together where they come together, and never at the cost of who commits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from outbox.worker.publisher import BATCH, Publisher


class Broker:
    """Takes what is published, once it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self.published: list[list[int]] = []
        self.looked_up: list[list[str]] = []
        self.fault: Exception | None = None

    def look_up(self, message_ids: Sequence[str]) -> list[int]:
        self.looked_up.append(list(message_ids))
        return [int(one) for one in message_ids]

    def publish(self, ids: list[int]) -> None:
        self.reached.set()
        assert self.open.wait(30.0)
        if self.fault is not None:
            raise self.fault
        self.published.append(ids)


def test_what_is_committed_meanwhile_goes_together() -> None:
    """While the broker takes its time nobody waits, and the next tasks are whole batches."""
    broker = Broker()
    publisher = Publisher(broker.look_up, broker.publish)
    publisher.queued("0")
    assert broker.reached.wait(30.0)
    for number in range(1, 251):
        publisher.queued(str(number))
    broker.open.set()
    publisher.flush(30.0)
    assert [len(one) for one in broker.looked_up] == [1, 250]
    assert [len(one) for one in broker.published] == [1, BATCH, BATCH, 50]
    assert sorted(number for one in broker.published for number in one) == list(range(251))


def test_a_broker_that_fails_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """One line says what finds the mail; what comes in the next seconds is not even looked up."""
    broker = Broker()
    broker.open.set()
    broker.fault = OSError("connection refused")
    publisher = Publisher(broker.look_up, broker.publish)
    with caplog.at_level(logging.WARNING):
        publisher.queued("1")
        publisher.flush(30.0)
        publisher.queued("2")
        publisher.flush(30.0)
    assert broker.looked_up == [["1"]]
    (line,) = caplog.messages
    assert line.endswith("the next outbox.sweep finds it: connection refused")


def test_what_hangs_keeps_no_process_from_its_end() -> None:
    """It waits for what is still to be published, for a moment."""
    broker = Broker()
    publisher = Publisher(broker.look_up, broker.publish)
    publisher.queued("1")
    publisher.flush(0.0)
    assert broker.published == []
    broker.open.set()
    publisher.flush(30.0)
    assert broker.published == [[1]]
