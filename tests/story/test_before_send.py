"""Guards and hooks right before a message is sent: what they stop, and that nothing else waits. Real workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import Message
from tests.story.hooks_app import CUSTOMERS
from tests.story.stage import CommandWorker, Relay, Stage, until

QUICK = {"OUTBOX_HOOK_SECONDS": "1"}


def start(stage: Stage, *arguments: str) -> CommandWorker:
    log = stage.folder / f"worker-{len(stage.workers)}.log"
    worker = CommandWorker({**stage.environ, **QUICK}, log, *arguments, app="tests.story.hooks_app")
    stage.workers.append(worker)
    return worker


@pytest.fixture(autouse=True)
def no_thread_dies(stage: Stage) -> Iterator[None]:
    yield
    assert not [one.log() for one in stage.workers if "a thread of the worker died" in one.log()]


def enqueue(stage: Stage, name: str, **options: Any) -> None:
    with stage.transaction() as session:
        stage.outbox.enqueue(Message("Hello", recipients=[f"{name}@example.org"], body="Hello.\n"), **options)
        session.commit()


def ends(stage: Stage) -> dict[str, tuple[str, str | None]]:
    return {one.recipient.partition("@")[0]: (one.state, one.reason) for one in stage.deliveries()}


def endless(stage: Stage) -> Any:
    """A condition that takes far longer than it may."""
    if stage.engine.dialect.name == "sqlite":
        numbers = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
        numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < 10**9))
        return sa.select(sa.func.count()).select_from(numbers).scalar_subquery() > 0
    sleep = sa.func.pg_sleep(60) if stage.engine.dialect.name == "postgresql" else sa.func.sleep(60)
    return sa.exists(sa.select(sa.cast(sleep, sa.String)).where(sa.literal(1) == 1).limit(1)).where(
        sa.cast(sleep, sa.String) != "x"
    )


@pytest.mark.once("postgresql")
def test_a_guard_is_asked_when_the_message_is_sent(stage: Stage, relay: Relay) -> None:
    """What has become false since cancels; what can't be asked sends nothing and shows why; the rest is sent."""
    CUSTOMERS.create(stage.engine)
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).replace(tzinfo=None)
    with stage.engine.begin() as connection:
        rows = [{"id": id, "name": f"100 % O'Neill:{id}", "active": True, "since": since} for id in (1, 2, 3)]
        connection.execute(CUSTOMERS.insert(), rows)
    columns = CUSTOMERS.c
    for id in (1, 2, 3):
        named = (columns.id == id, columns.name == f"100 % O'Neill:{id}", columns.since == since)
        guard = (
            sa.select(columns.id).where(*named, columns.active)
            if id == 1
            else sa.exists().where(*named, columns.active)
        )
        enqueue(stage, f"customer{id}", guard=guard)
    enqueue(stage, "listed", guard=sa.exists().where(columns.id.in_([7, 3]), columns.name.like("100 % %")))
    enqueue(stage, "null", guard=sa.null() == 1)
    enqueue(stage, "lost", guard=sa.exists().where(sa.table("no_such_table", sa.column("id")).c.id == 1))
    enqueue(stage, "plain")
    with stage.engine.begin() as connection:
        connection.execute(CUSTOMERS.update().where(columns.id == 2).values(active=False))
        connection.execute(CUSTOMERS.delete().where(columns.id == 3))
    start(stage)
    wanted = {
        "customer1": ("sent", None),
        "customer2": ("cancelled", "guard"),
        "customer3": ("cancelled", "guard"),
        "listed": ("cancelled", "guard"),
        "null": ("cancelled", "guard"),
        "lost": ("queued", "guard"),
        "plain": ("sent", None),
    }
    with suppress(TimeoutError):
        until(lambda: ends(stage) == wanted, "all", 40)
    assert ends(stage) == wanted, stage.workers[0].log()[-5000:]
    assert {one.to.partition("@")[0] for one in relay.taken()} == {"customer1", "plain"}
    lost, *_ = [one for one in stage.attempts() if one.note and "no_such_table" in one.note]
    assert not lost.counted
    assert "no_such_table" in stage.command("outbox-show", str(lost.delivery_id)).stdout


@pytest.mark.once("postgresql")
def test_hooks_that_hang_or_raise_delay_nobody_else(stage: Stage, relay: Relay) -> None:
    """More of them than there are threads: all stay queued, nothing is lost or sent, and plain mail goes at once."""
    worker = start(stage)
    for number in range(10):
        enqueue(stage, f"hang{number}", kind="hang")
    until(lambda: ends(stage)["hang0"][0] == "sending", "the first is asked about")
    for kind in ("raise", "hold", "cancel"):
        enqueue(stage, kind, kind=kind, key=f"of-{kind}")
    stage.send(20, kind="news")
    until(lambda: len(relay.taken()) == 20, "plain mail")
    until(lambda: all(ends(stage)[f"hang{n}"] == ("queued", "hook") for n in range(10)), "all that hang are queued")
    assert len(relay.taken()) == 20
    notes = {one.delivery_id: one.note for one in stage.attempts() if one.note}
    assert sum("no answer within 1 s (OUTBOX_HOOK_SECONDS)" in note for note in notes.values()) >= 10
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert {state for state, _ in ends(stage).values()} <= {"queued", "sent", "cancelled"}


def test_what_a_hook_answers(stage: Stage, relay: Relay) -> None:
    """It is held, cancelled, or neither where it raises; a drain ends, and says nothing is left for the relay."""
    for kind in ("raise", "hold", "cancel"):
        enqueue(stage, kind, kind=kind, key=f"of-{kind}")
    stage.send(1)
    assert start(stage, "--drain").wait(60) == 0
    found = ends(stage)
    assert (found["raise"], found["hold"], found["cancel"]) == (
        ("queued", "hook"),
        ("queued", "hook"),
        ("cancelled", "hook"),
    )
    notes = {one.note for one in stage.attempts()}
    assert {"ask: not now", "ask: never, of-cancel", "ask failed: RuntimeError: as asked for"} <= notes
    assert len(relay.taken()) == 1


def test_a_worker_that_stops_gives_back_what_is_asked_about(stage: Stage, relay: Relay) -> None:
    """Due as before, so that the next worker asks again; nobody waits for the end of a lease."""
    enqueue(stage, "hang", kind="hang")
    log = stage.folder / "patient.log"
    worker = CommandWorker({**stage.environ, "OUTBOX_HOOK_SECONDS": "600"}, log, app="tests.story.hooks_app")
    stage.workers.append(worker)
    until(lambda: ends(stage)["hang"][0] == "sending", "it is asked about")
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert ends(stage)["hang"] == ("queued", None)
    assert relay.taken() == []


@pytest.mark.once("postgresql")
def test_a_guard_that_takes_too_long_is_given_up(stage: Stage, relay: Relay) -> None:
    """Its connection is ended, its message waits, and others go."""
    enqueue(stage, "endless", guard=endless(stage))
    stage.send(3)
    start(stage)
    until(lambda: ends(stage)["endless"] == ("queued", "guard") and len(relay.taken()) == 3, "it is given up")
