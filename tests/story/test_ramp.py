"""After an outage, a pause or a large requeue the backlog goes out by one connection, then by ever more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.models import OutboxWorker
from outbox.operations import pauses, transitions
from outbox.operations.filters import Filter
from outbox.store.pauses import What
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, until
from tests.wire.actions import Later, Take
from tests.wire.server import SmtpServer

_STEP = 0.7  # seconds
_AFTER = {1: 0, 2: 1, 3: 2, 5: 3}  # how many steps after the first connection the n-th may come


def outage(stage: Stage, server: SmtpServer) -> Callable[[], None]:
    """The relay is down, and comes back."""
    server.stop()
    stage.fork()
    stage.send_together(150)
    until(lambda: [one["state"] for one in stage.status()["transports"]] == ["down"], "the worker finds out")
    return lambda: (server.start(), None)[1]


def pause(stage: Stage, server: SmtpServer) -> Callable[[], None]:
    """All is paused, and resumed."""
    del server
    with stage.engine.begin() as connection:
        pauses.pause(connection, What.ALL, by="ann")
    stage.send_together(150)
    stage.fork()
    until(lambda: stage.status()["transports"], "the worker runs")

    def resume() -> None:
        with stage.engine.begin() as connection:
            pauses.resume(connection, by="ann")

    return resume


def requeue(stage: Stage, server: SmtpServer) -> Callable[[], None]:
    """A lot that was given up is wanted after all."""
    del server
    stage.send_together(150)
    with stage.engine.begin() as connection:
        transitions.cancel(connection, Filter(states=(State.QUEUED,)), by="ann")
    stage.fork()
    until(lambda: stage.status()["transports"], "the worker runs")

    def again() -> None:
        with stage.engine.begin() as connection:
            transitions.requeue(connection, Filter(states=(State.CANCELLED,)), by="ann")

    return again


@pytest.mark.parametrize("held", [outage, pause])
def test_a_backlog_goes_out_at_a_pace(sqlite_database: Database, make_stage: MakeStage, held: Any) -> None:
    """No connection is opened before its time, the worker says why, and in the end all work."""
    goes_at_a_pace(sqlite_database, make_stage, held)


def test_a_large_requeue_goes_out_at_a_pace(database: Database, make_stage: MakeStage) -> None:
    """It is not known before it is due: the row of the transport says so."""
    goes_at_a_pace(database, make_stage, requeue)


def goes_at_a_pace(database: Database, make_stage: MakeStage, held: Any) -> None:
    """What must be so in each case."""
    opened: list[float] = []

    def greet(_: object) -> None:
        opened.append(time.monotonic())

    def health() -> dict[str, Any]:
        with stage.engine.connect() as connection:
            said = connection.execute(sa.select(OutboxWorker.health)).scalars().first() or {}
        found: dict[str, Any] = said.get("transport", {})
        return found

    with SmtpServer({"greeting": greet, "dot": Take(Later(0.2, "250 2.0.0 ok"))}) as server:
        stage = make_stage(database, server.port, OUTBOX_CONNECTIONS="8", OUTBOX_RAMP=str(_STEP))
        release = held(stage, server)
        opened.clear()
        released = time.monotonic()
        release()
        until(lambda: "ramp_seconds" in health() and health()["ramp_seconds"] > 0, "the worker's row says so")
        until(lambda: len(opened) >= 8, "all connections work")
        for number, steps in _AFTER.items():
            assert opened[number - 1] - released >= 0.9 * _STEP * steps, [at - released for at in opened]
        assert stage.settle() == {"sent": 150}
