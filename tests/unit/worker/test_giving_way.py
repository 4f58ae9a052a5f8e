"""A request that has committed lets the worker in its process go first: once, however many messages it has."""

from __future__ import annotations

import os

import pytest
from flask import Flask

from outbox.core.clock import Debounce
from outbox.worker import in_process


class Nudged:
    """A worker that counts how often it is told to look."""

    def __init__(self) -> None:
        self.times = 0

    def nudge(self) -> None:
        self.times += 1


def test_a_thousand_messages_give_way_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, worker, slept = object.__new__(in_process._Keeper), Nudged(), []
    keeper._worker, keeper._pid = worker, os.getpid()  # type: ignore[assignment]
    keeper._gives_way = Debounce(60.0).passes
    monkeypatch.setattr(in_process.time, "sleep", slept.append)
    for _ in range(1_000):
        keeper._queued(Flask("app"))
    assert (worker.times, slept) == (1_000, [0])
    keeper._pid = 0  # a child that has forked has no worker
    keeper._queued(Flask("app"))
    assert worker.times == 1_000
