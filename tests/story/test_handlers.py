"""Handlers of what becomes of mail: each once for each outcome, whatever is killed; none delays anything."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.models import OutboxEffect
from outbox.operations import events
from outbox.store.effects import listen
from outbox.store.engines import worker_engine
from outbox.store.types import DbNow
from tests.servers.databases import Database
from tests.story import handlers_app
from tests.story.conftest import MakeStage
from tests.story.handlers_app import notes
from tests.story.stage import CommandWorker, Relay, Stage, until
from tests.wire.actions import turns
from tests.wire.server import SmtpServer

APP = "tests.story.handlers_app"
QUICK = {"OUTBOX_HANDLER_SECONDS": "2", "STORY_HANDLERS": "sent failed bounced"}
CONNECTIONS = 2
EVENTS = SimpleNamespace(address_digest_key=b"key", bounce_suppression_seconds=900.0)


def start(stage: Stage, *arguments: str, **settings: str) -> CommandWorker:
    """A worker of the application with handlers."""
    log = stage.folder / f"worker-{len(stage.workers)}.log"
    worker = CommandWorker({**stage.environ, **QUICK, **settings}, log, *arguments, app=APP)
    stage.workers.append(worker)
    return worker


def prepared(stage: Stage) -> Stage:
    """With the application's own table."""
    handlers_app.NOTES.create(stage.engine)
    return stage


def effects(stage: Stage) -> list[Any]:
    """What is still to do."""
    with stage.engine.connect() as connection:
        return list(connection.execute(sa.select(OutboxEffect).order_by(OutboxEffect.id)).all())


def noted(stage: Stage, count: int, limit: float = 60.0) -> list[Any]:
    """The rows of the handlers, once there are so many and nothing is left to do."""
    until(lambda: len(notes(stage.engine)) >= count and not effects(stage), f"{count} notes", limit)
    return notes(stage.engine)


def test_each_outcome_and_its_handler(database: Database, make_stage: MakeStage) -> None:
    """The handler's row, with what the server said, once for each; a worker that drains ends when that is done, too."""
    with SmtpServer({"rcpt": turns("550 5.1.1 no such user")}) as server:
        stage = prepared(make_stage(database, server.port, OUTBOX_CONNECTIONS="1"))
        refused, *ids = stage.send(3, kind="news")
        assert start(stage, "--drain").wait(60) == 0
    found = [(one.type, one.message_id, one.said) for one in notes(stage.engine)]
    assert sorted(found) == sorted(
        [("failed", refused, "550 5.1.1"), ("bounced", refused, "550 5.1.1")]
        + [("sent", id, said) for id in ids for said in {said for type, _, said in found if type == "sent"}]
    )
    assert effects(stage) == []


@pytest.mark.quick("postgresql")
def test_the_same_event_ten_times_by_four_is_one(database: Database, make_stage: MakeStage, relay: Relay) -> None:
    """Recorded by whoever gets the report, done by one of four workers; without proof nothing is."""
    stage = prepared(make_stage(database, relay.port))
    [id] = stage.send()
    for _ in range(4):
        start(stage, STORY_HANDLERS="bounced complained")
    stage.settle()
    [delivery] = [one.id for one in stage.deliveries()]
    bounce = ReportedEvent(
        EventType.BOUNCED, "report", "1", delivery_id=delivery, reply=Reply(550, "5.1.1", "gone"), proven=True
    )
    forged = ReportedEvent(EventType.COMPLAINED, "report", "2", delivery_id=delivery)
    engine = worker_engine(database.address)
    listen(engine, Both("note"))
    with ThreadPoolExecutor(4) as reporters:
        recorded = list(reporters.map(lambda _: events.record(engine, EVENTS, [forged, bounce]), range(10)))
    engine.dispose()
    assert len({one.id for pair in recorded for one in pair if one.id is not None}) == 2
    assert [(one.type, one.message_id, one.said) for one in noted(stage, 1)] == [("bounced", id, "550 5.1.1")]


class Both:
    """Listeners for whatever there is."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def names(self, type: str, kind: str | None) -> tuple[str, ...]:
        return self._names

    def recorded(self, events: Sequence[Any]) -> None:
        pass


@pytest.mark.once("postgresql")
def test_one_that_fails_leaves_the_outcome_and_is_shown(
    database: Database, make_stage: MakeStage, relay: Relay
) -> None:
    """Rolled back each time, the mail recorded all the same; given up visibly after its last attempt."""
    stage = prepared(make_stage(database, relay.port))
    [bad] = stage.send(metadata={"fails": True})
    [good] = stage.send()
    worker = start(stage, OUTBOX_HANDLER_ATTEMPTS="1")
    assert stage.settle() == {"sent": 2}
    until(lambda: len(notes(stage.engine)) == 1, "the other handler's work is done")
    until(lambda: [one.due_at for one in effects(stage)] == [None], "the effect is given up")
    [left] = effects(stage)
    assert (left.name, left.type, left.attempts, left.error) == ("note", "sent", 1, "RuntimeError: as asked for")
    until(lambda: [one.message_id for one in notes(stage.engine)] == [good], "the other is noted")
    assert f"{bad}: sent: note failed 1 times and is given up: RuntimeError: as asked for" in worker.log()


@pytest.mark.parametrize("hang", ["before a write", "after a write"])
@pytest.mark.once("postgresql")
def test_one_that_hangs_delays_nobody(database: Database, make_stage: MakeStage, relay: Relay, hang: str) -> None:
    """Nor holds what it has written: the others' rows and all outcomes are there while it hangs, and again."""
    stage = prepared(make_stage(database, relay.port))
    worker = start(stage, STORY_HANG=hang)
    stage.send(1)
    until(lambda: "it did not return within 2 s" in worker.log(), "the first is given up")
    ids = stage.send(20)
    assert stage.settle() == {"sent": 21}
    until(lambda: len(notes(stage.engine)) == 21, "the other handler has done its work")
    assert {one.type for one in notes(stage.engine)} == {"sent"}
    assert {one.message_id for one in notes(stage.engine)} >= set(ids)
    assert {one.name for one in effects(stage)} == {"hang"}
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 0


@pytest.mark.once("postgresql")
def test_a_handler_that_no_worker_knows_stays(database: Database, make_stage: MakeStage, relay: Relay) -> None:
    """Until a worker comes that does."""
    stage = prepared(make_stage(database, relay.port))
    stage.send(2)
    assert start(stage, "--drain", OUTBOX_HANDLER_ATTEMPTS="3").wait(60) == 0
    assert len(noted(stage, 2)) == 2
    with stage.engine.begin() as connection:
        row = {"environment": "", "name": "gone", "type": "sent", "effect_key": "x", "due_at": DbNow()}
        connection.execute(sa.insert(OutboxEffect).values(**row, created_at=DbNow()))
    assert start(stage, "--drain").wait(60) == 0
    assert [(one.name, one.attempts) for one in effects(stage)] == [("gone", 0)]


def test_without_a_session_there_are_no_handlers(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Where the application has its rows is not known: the worker says so, and does not start."""
    stage = make_stage(sqlite_database, 25)
    worker = start(stage, STORY_SESSION="none")
    assert worker.wait(60) == 2
    assert "there are handlers (mail.on), and init_app was given no session" in worker.log()


@pytest.mark.databases("sqlite")
def test_kill_loop_with_handlers(database: Database, make_stage: MakeStage, relay: Relay) -> None:
    """A short one."""
    kill_loop(make_stage(database, relay.port), relay, 4)


@pytest.mark.long
@pytest.mark.once("postgresql")
def test_long_kill_loop_with_handlers(database: Database, make_stage: MakeStage, relay: Relay) -> None:
    """As long as is needed to meet each place in the code."""
    kill_loop(make_stage(database, relay.port), relay, 25)


def kill_loop(stage: Stage, relay: Relay, kills: int) -> None:
    """Workers killed at random moments: one effect for every message that was sent, none lost, none twice.

    At the relay each message arrives; a second copy only of what a killed worker's connection had under way.
    """
    prepared(stage)
    chance = random.Random(kills)
    settings = {
        "OUTBOX_CONNECTIONS": str(CONNECTIONS),
        "OUTBOX_HANDLER_SECONDS": "0.5",
        "STORY_HANDLERS": "sent",
        "STORY_SLOW": "0.01",
    }
    ids = set[str]()
    workers = [start(stage, **settings) for _ in range(2)]
    for _ in range(kills):
        ids |= set(stage.send_together(10))
        done = len(notes(stage.engine)) + chance.randrange(1, 12)
        with suppress(TimeoutError):
            until(lambda: len(notes(stage.engine)) >= done, "some are done", 3.0)  # noqa: B023
        victim = workers.pop(chance.randrange(len(workers)))
        victim.signal(signal.SIGKILL)
        victim.wait(30)
        workers.append(start(stage, **settings))
    assert set(stage.settle(120)) == {"sent"}
    noted(stage, len(ids), 120)
    assert Counter(one.message_id for one in notes(stage.engine)) == Counter(ids)
    copies = relay.copies()
    assert {id for id, _ in copies} == ids
    assert len(copies) == len(ids) == kills * 10
    assert copies.total() - len(copies) <= kills * CONNECTIONS
    assert len({(one.id, one.digest) for one in relay.taken()}) == len(ids), "a second copy has other bytes"
