"""A worker's row: it lives while it beats, and after its deregistration no heartbeat calls it back to life."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.core.events import Events
from outbox.models import OutboxWorker
from outbox.store.queue import Queue
from outbox.worker.registration import Registration

LIMIT = 20.0  # seconds


@pytest.fixture
def registration(engine: sa.Engine) -> Registration:
    """A registered worker."""
    registration = Registration(Queue(engine, environment="", lease=60.0), Events(), dead_after=60.0)
    registration.register(host="here", pid=1, version="1", connections=4)
    return registration


def row(engine: sa.Engine, registration: Registration) -> OutboxWorker:
    with Session(engine) as session:
        return session.get_one(OutboxWorker, registration.id)


def saying(what: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"what": what}


def test_a_heartbeat_tells_how_the_worker_fares(engine: sa.Engine, registration: Registration) -> None:
    """What the worker says of itself, and what it repaired."""
    registration.repaired("the clock")
    registration.beat(saying("well"))
    health = row(engine, registration).health
    assert health is not None
    assert health["what"] == "well"
    assert [one["what"] for one in health["repaired"]] == ["the clock"]


def test_a_heartbeat_after_deregistering_writes_nothing(engine: sa.Engine, registration: Registration) -> None:
    """As where the scheduler's thread gets to run when the worker has already said that it ended."""
    registration.retire(saying("deregistration"))
    registration.beat(saying("again"))
    ended = row(engine, registration)
    assert ended.stopped_at is not None
    assert ended.health is not None
    assert ended.health["what"] == "deregistration"


def test_deregistering_waits_for_a_heartbeat_under_way(engine: sa.Engine, registration: Registration) -> None:
    """A heartbeat that is written last would call the worker back to life until others declare it dead."""
    under_way, go_on = threading.Event(), threading.Event()

    def slow() -> dict[str, Any]:
        under_way.set()
        assert go_on.wait(LIMIT)
        return {"what": "slow"}

    with ThreadPoolExecutor(2) as pool:
        beating = pool.submit(registration.beat, slow)
        assert under_way.wait(LIMIT)
        retiring = pool.submit(registration.retire, saying("deregistration"))
        retiring.add_done_callback(lambda _: go_on.set())  # what does not wait is shown by its row
        threading.Timer(0.2, go_on.set).start()
        beating.result(LIMIT)
        retiring.result(LIMIT)
    assert row(engine, registration).stopped_at is not None
