"""`mail.batch`: portions, a run that stopped and goes on, cancelling, the end that is told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from outbox import BatchEvent, Message, MessageError, Outbox
from outbox.models import OutboxBatch, OutboxDelivery, OutboxEffect, OutboxMessage
from outbox.operations.batch_rounds import Rounds
from outbox.operations.batches import named, state_words
from outbox.store.effect_queue import EffectQueue
from outbox.store.effects import listen
from outbox.store.held import Held
from outbox.store.pauses import active
from outbox.store.queue import Queue
from tests.servers.databases import Database


@pytest.fixture
def mail(database: Database) -> Iterator[Outbox]:
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="news@example.org")
    made = Outbox()
    made.kind("news", priority="bulk")
    made.init_app(app, session=scoped_session(sessionmaker(database.engine)))
    with app.app_context():
        yield made


def items(numbers: Any, made: list[int] | None = None) -> Iterator[Any]:
    """One for each number; `made`: of which a message was made."""
    for number in numbers:

        def message(number: int = number) -> Message:
            if made is not None:
                made.append(number)
            return Message(f"News {number}", [f"reader{number}@example.net"], "Hello.")

        yield str(number), message


def keys(database: Database) -> list[str | None]:
    with Session(database.engine) as session:
        return sorted(session.scalars(sa.select(OutboxMessage.key)))


def states(database: Database) -> Counter[str]:
    with Session(database.engine) as session:
        return Counter(session.scalars(sa.select(OutboxDelivery.state)))


def rounds(mail: Outbox) -> Rounds:
    return Rounds(mail.database(), mail.settings().environment, 0.0, lambda: 0.0)


def test_a_run_that_stopped_goes_on(mail: Outbox, database: Database) -> None:
    """Committed portions stay, what is there is made no second time, and a filled batch reads nothing."""
    batch = mail.batch("newsletter-7", kind="news")

    def broken() -> Iterator[Any]:
        yield from items(range(7))
        raise RuntimeError("as if it was killed")

    with pytest.raises(RuntimeError):
        batch.enqueue(broken(), portion=3)
    assert keys(database) == [f"newsletter-7:{number}" for number in range(6)]
    found = batch.progress()
    assert found is not None
    assert (found.state, found.messages) == ("filling", 6)
    made: list[int] = []
    found = batch.enqueue(items(range(10), made), portion=4)
    assert made == [6, 7, 8, 9]
    assert keys(database) == [f"newsletter-7:{number}" for number in range(10)]
    assert (found.state, found.messages, found.deliveries, found.counts) == ("filled", 10, 10, {"queued": 10})
    again = mail.batch("newsletter-7", kind="news").enqueue(items(range(99), made))
    assert (made, again.messages) == ([6, 7, 8, 9], 10)


def test_two_runs_at_once(mail: Outbox, database: Database) -> None:
    """Each item is enqueued by one of them, also where the two make different messages of it."""

    def run(name: str) -> None:
        with mail_app.app_context():
            mail.batch("news").enqueue(
                ((str(n), Message(name, [f"r{n}@example.net"], "Hello.")) for n in range(60)), portion=7
            )

    mail_app = current_app._get_current_object()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, ["one", "two"]))
    assert len(keys(database)) == 60
    found = mail.batch("news").progress()
    assert found is not None
    assert (found.messages, found.counts) == (60, {"queued": 60})


def test_what_can_not_be_composed(mail: Outbox, database: Database) -> None:
    """Raises, and what was committed stays; or is left out and told."""
    wanted = [("1", Message("x", ["a@example.net"], "x")), ("2", Message("x", ["not an address"], "x"))]
    with pytest.raises(MessageError):
        mail.batch("strict").enqueue(wanted, portion=1)
    told: list[str] = []
    found = mail.batch("lenient").enqueue(wanted, refused=lambda key, error: told.append(key))
    assert (told, found.messages, found.refused) == (["2"], 1, 1)
    for name, key in (("", "1"), ("n" * 101, "1"), ("n", "k" * 151), ("n", " 1")):
        with pytest.raises(MessageError):
            mail.batch(name).enqueue([(key, wanted[0][1])])


def test_cancelled_while_it_is_filled(mail: Outbox, database: Database) -> None:
    """The run ends before its next portion; what is queued is cancelled, what was sent stays."""
    batch = mail.batch("news", expected=100)

    def reads() -> Iterator[Any]:
        for number, item in enumerate(items(range(100))):
            if number == 6:
                _set(database, "sent", 1)
                assert batch.cancel(note="wrong link") == 5
            yield item

    found = batch.enqueue(reads(), portion=3)
    assert (found.state, found.messages, found.counts) == ("cancelled", 6, {"sent": 1, "cancelled": 5})
    assert states(database) == {"sent": 1, "cancelled": 5}
    with pytest.raises(LookupError):
        mail.batch("other").cancel()


def test_paused_and_resumed_from_code(mail: Outbox, database: Database) -> None:
    """What is queued, and what is enqueued meanwhile, is claimed by nobody; mail of others is."""
    batch, other = mail.batch("news-7"), mail.batch("news-8")
    batch.enqueue(items(range(2)))
    other.enqueue(items(range(2, 4)))
    batch.pause(reason="a wrong link")
    found = batch.progress()
    assert found is not None
    assert found.pause is not None
    assert (state_words(found), found.pause.reason, found.pause.by) == ("paused", "a wrong link", "application")
    queue = Queue(mail.database(), environment="", lease=60.0)

    def claimed() -> list[str]:
        with database.engine.connect() as connection:
            queue.hold(Held.by(active(connection, ""), {"default"}))
        return sorted(one.recipient for one in queue.claim(1, 4711, 10))

    assert claimed() == ["reader2@example.net", "reader3@example.net"]
    assert (batch.resume(), batch.resume()) == (True, False)
    assert claimed() == ["reader0@example.net", "reader1@example.net"]


def test_its_end_is_told_once(mail: Outbox, database: Database) -> None:
    """When nothing of it is live any more, whichever worker sees it first; not while more may come."""
    told: list[BatchEvent] = []

    @mail.on("batch_done", kind="news", name="report")
    def report(session: Session, event: BatchEvent) -> None:
        told.append(event)

    listening = current_app.extensions["mail"].listening
    listen(mail.database(), listening)
    mail.batch("news", kind="news").enqueue(items(range(3)))
    assert rounds(mail).run() == []
    _set(database, "sent", 2)
    _set(database, "failed", 1)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda one: one.run(), [rounds(mail), rounds(mail)]))
    assert sorted(found, key=len) == [[], ["news"]]
    queue = EffectQueue(mail.database(), mail.settings().environment)
    (due,) = queue.claim("report", 10, 60.0)
    with mail.database().begin() as connection:
        listening.handle("report", connection, due.event)
    (event,) = told
    assert (event.batch, event.kind, event.deliveries, event.counts) == ("news", "news", 3, {"sent": 2, "failed": 1})
    with Session(database.engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(OutboxEffect)) == 1


def test_the_row_goes_when_its_mail_is_gone(mail: Outbox, database: Database) -> None:
    """Not before."""
    mail.batch("news").enqueue(items(range(2)))
    _set(database, "sent", 2)
    assert rounds(mail).run() == ["news"]
    assert rounds(mail).remove_old() == 0
    with database.engine.begin() as connection:
        connection.execute(sa.delete(OutboxDelivery))
        row = named(connection, "news", "")
    assert row is not None
    assert (row.ended, row.share_done) == (2, 1.0)
    assert rounds(mail).remove_old() == 1
    with Session(database.engine) as session:
        assert session.scalars(sa.select(OutboxBatch)).all() == []


def _set(database: Database, state: str, count: int) -> None:
    """As if workers had ended so many."""
    with Session(database.engine) as session, session.begin():
        ids = session.scalars(
            sa.select(OutboxDelivery.id)
            .where(OutboxDelivery.state == "queued")
            .order_by(OutboxDelivery.id)
            .limit(count)
        ).all()
        session.execute(
            sa.update(OutboxDelivery)
            .where(OutboxDelivery.id.in_(ids))
            .values(state=state, due_at=None, finished_at=sa.func.now(), updated_at=sa.func.now())
        )
