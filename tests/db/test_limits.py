"""Throttle and newest wins, on each database: in the caller's transaction, and between two at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session

from outbox import Message, MessageError, Outbox, OutboxMessage, operations
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.models import OutboxDelivery
from outbox.store.models import OutboxThrottle
from outbox.store.types import DbNow
from tests.servers.databases import Database

ANN = "ann@gmail.com"


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    return database.engine


@pytest.fixture
def outbox(session: Session) -> Iterator[Outbox]:
    """An outbox in the context of an application whose session is `session`."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    outbox = Outbox()
    outbox.kind("plain")
    outbox.kind("few", throttle="3/hour")
    outbox.kind("newest", replace="queued")
    outbox.kind("both", throttle="2/hour", replace="queued")
    outbox.init_app(app, session=session)
    with app.app_context():
        yield outbox


def hello(token: object, to: str = ANN) -> Message:
    return Message("Hello", [to], f"token {token}\n")


def states(engine: sa.Engine) -> list[tuple[str, str | None]]:
    """State and reason of each delivery, in order."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(OutboxDelivery.state, OutboxDelivery.reason).order_by(OutboxDelivery.message_id)
        )
        return [(row.state, row.reason) for row in rows]


def tokens(engine: sa.Engine, *of: State) -> list[str]:
    """Of the messages whose delivery is in one of the states, by default all, in order."""
    with Session(engine) as session:
        found = session.scalars(sa.select(OutboxMessage).join(OutboxDelivery).order_by(OutboxMessage.id))
        return [
            one.skeleton.decode().rpartition("token ")[2].strip()
            for one in found
            if not of or State(one.deliveries[0].state) in of
        ]


def become(engine: sa.Engine, state: State, **values: Any) -> None:
    """Whatever is queued goes to `state`, as a worker would take it."""
    ended: dict[str, Any] = {"due_at": None, "finished_at": DbNow()}
    if state is State.SENDING:
        ended = {"token": 7}
    with engine.begin() as connection:
        of_queued = sa.update(OutboxDelivery).where(OutboxDelivery.state == State.QUEUED.value)
        connection.execute(of_queued.values(state=state.value, **ended, **values))


def pass_by(engine: sa.Engine, seconds: float) -> None:
    """Let what was written be so much older."""
    with engine.begin() as connection:
        for row in connection.execute(sa.select(OutboxThrottle.digest, OutboxThrottle.entries)).all():
            entries = [[*entry[:3], entry[3] - seconds, entry[4] - seconds] for entry in row.entries]
            mine = sa.update(OutboxThrottle).where(OutboxThrottle.digest == row.digest)
            connection.execute(mine.values(entries=entries, expires_at=DbNow(-seconds)))


def test_fifty_are_three(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The others write nothing, and get the newest of the three, whose token still works."""
    stored = []
    for number in range(50):
        message = hello(number)
        stored.append(outbox.enqueue(message, kind="few"))
        session.commit()
        assert (stored[-1].message_id == message.msgId) is (number < 3)
    assert tokens(engine) == ["0", "1", "2"]
    assert states(engine) == [("queued", None)] * 3
    assert {one.id for one in stored[3:]} == {stored[2].id}
    assert {one.message_id for one in stored[3:]} == {stored[2].message_id}


def test_what_was_turned_away_does_not_count(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """When the time is over three more may go, however often somebody asked in between."""
    for number in range(10):
        outbox.enqueue(hello(number), kind="few")
        session.commit()
    pass_by(engine, 3601)
    for number in range(10, 20):
        outbox.enqueue(hello(number), kind="few")
        session.commit()
    assert tokens(engine) == ["0", "1", "2", "10", "11", "12"]


def test_each_kind_and_each_person(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Counts by itself; all addresses of a person count as one."""
    for number, to in enumerate(
        [ANN, "A.n.n@gmail.com", "ann+x@googlemail.com", "a.nn+y@gmail.com", "ann@example.org"]
    ):
        outbox.enqueue(hello(number, to), kind="few")
        outbox.enqueue(hello(f"{number}'", to), kind="plain")
    session.commit()
    assert tokens(engine) == ["0", "0'", "1", "1'", "2", "2'", "3'", "4", "4'"]


def test_another_environment_counts_by_itself(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Staging beside production."""
    other = Flask("other")
    other.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_ENVIRONMENT="staging")
    outbox.init_app(other, session=session)
    for _ in range(4):
        outbox.enqueue(hello("production"), kind="few")
        with other.app_context():
            outbox.enqueue(hello("staging"), kind="few")
    session.commit()
    assert tokens(engine) == ["production", "staging"] * 3


def test_the_newest_replaces_what_is_queued(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """It alone is sent; the others end visibly."""
    for number in range(4):
        outbox.enqueue(hello(number, ["ann@gmail.com", "a.nn@gmail.com"][number % 2]), kind="newest")
        session.commit()
    assert states(engine) == [("cancelled", Reason.REPLACED)] * 3 + [("queued", None)]
    assert tokens(engine, State.QUEUED) == ["3"]


@pytest.mark.parametrize("state", [State.SENDING, State.SENT, State.FAILED])
def test_only_what_is_queued_is_replaced(engine: sa.Engine, session: Session, outbox: Outbox, state: State) -> None:
    """What a worker holds may be on its way; what ended has ended."""
    outbox.enqueue(hello(0), kind="newest")
    session.commit()
    become(engine, state)
    outbox.enqueue(hello(1), kind="newest")
    session.commit()
    assert [one for one, _ in states(engine)] == [state.value, "queued"]


def test_what_was_deferred_is_replaced_then(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """A worker held it while the second was written; the third replaces both."""
    outbox.enqueue(hello(0), kind="newest")
    session.commit()
    become(engine, State.SENDING)
    outbox.enqueue(hello(1), kind="newest")
    session.commit()
    with engine.begin() as connection:
        deferred = sa.update(OutboxDelivery).where(OutboxDelivery.state == "sending")
        connection.execute(deferred.values(state="queued", token=None, attempts=1, due_at=DbNow(60)))
    outbox.enqueue(hello(2), kind="newest")
    session.commit()
    assert tokens(engine, State.QUEUED) == ["2"]


def test_what_may_have_been_taken_is_not_replaced(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The final dot was sent under a lease that was lost: a worker has to see to it."""
    outbox.enqueue(hello(0), kind="newest")
    session.commit()
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).values(marked_at=DbNow()))
    outbox.enqueue(hello(1), kind="newest")
    session.commit()
    assert tokens(engine, State.QUEUED) == ["0", "1"]


def test_replaced_mail_does_not_count(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The recipient never saw it. While nothing is sent the newest wins; two may be sent."""
    for number in range(5):
        outbox.enqueue(hello(number), kind="both")
        session.commit()
    assert tokens(engine, State.QUEUED) == ["4"]
    become(engine, State.SENT)
    for number in range(5, 8):
        outbox.enqueue(hello(number), kind="both")
        session.commit()
    become(engine, State.SENT)
    assert outbox.enqueue(hello(8), kind="both").message_id
    session.commit()
    assert tokens(engine, State.SENT) == ["4", "7"]
    assert tokens(engine, State.QUEUED) == []


def test_a_rollback_takes_it_all_back(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The message, its place in the throttle, and what it replaced."""
    outbox.enqueue(hello(0), kind="both")
    session.commit()
    for number in range(1, 5):
        outbox.enqueue(hello(number), kind="both")
        session.rollback()
    assert states(engine) == [("queued", None)]
    become(engine, State.SENT)
    outbox.enqueue(hello(5), kind="both")
    session.commit()
    assert tokens(engine) == ["0", "5"]


def test_of_many_at_once(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """In the order in which they are given; the others are written as ever."""
    kinds = ["few", "plain", "newest"]
    queued = outbox.enqueue_many([(hello(f"{kind}{n}"), {"kind": kind}) for n in range(5) for kind in kinds])
    session.commit()
    assert [one.is_new for one in queued] == [True] * 9 + [False, True, True] * 2
    assert queued[9].id == queued[12].id == queued[6].id
    assert sorted(tokens(engine, State.QUEUED)) == ["few0", "few1", "few2", "newest4", *(f"plain{n}" for n in range(5))]


def test_a_key_is_looked_up_first(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The same request again is no other one."""
    for _ in range(5):
        for key in ("a", "b"):
            outbox.enqueue(hello(key), kind="few", key=key)
            session.commit()
    assert tokens(engine) == ["a", "b"]
    outbox.enqueue(hello("c"), kind="few", key="c")
    assert outbox.enqueue(hello("d"), kind="few", key="d").message_id
    session.commit()
    assert tokens(engine) == ["a", "b", "c"]


def test_several_recipients_are_refused(session: Session, outbox: Outbox) -> None:
    """Some of them might have had enough."""
    message = Message("Hello", [ANN, "bob@example.org"], "x")
    with pytest.raises(MessageError, match="recipients: are 2, and the kind 'few' has throttle or replace") as caught:
        outbox.enqueue(message, kind="few")
    assert caught.value.remedy == "Enqueue a message for each of them."
    outbox.enqueue(message, kind="plain")


@pytest.mark.parametrize(("kind", "left"), [("few", 3), ("newest", 1), ("both", 1)])
def test_requests_at_once(
    engine: sa.Engine, outbox: Outbox, kind: str, left: int, request: pytest.FixtureRequest
) -> None:
    """As many are left as of requests one after the other: none slips through beside another."""
    app = Flask("threads")
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    outbox.init_app(app, session=lambda: pytest.fail("each gives its own"))
    begin = threading.Barrier(4)
    failures: list[BaseException] = []

    def ask(thread: int) -> None:
        try:
            begin.wait(30)
            for number in range(5):
                with Session(engine) as own, app.app_context():
                    if engine.dialect.name == "sqlite":
                        own.connection().exec_driver_sql("BEGIN IMMEDIATE")
                    outbox.enqueue(hello(f"{thread}.{number}"), own, kind=kind)
                    own.commit()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures[0]
    assert len(tokens(engine, State.QUEUED)) == left
    assert len(tokens(engine)) == (3 if kind == "few" else 20)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_request_that_has_not_ended(engine: sa.Engine, session: Session, outbox: Outbox, end: str) -> None:
    """The second waits for it, and counts it if it was committed."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: the other waits for all of its transaction")
    for number in range(2):
        outbox.enqueue(hello(number), kind="few")
    session.commit()
    app = Flask("beside")
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    outbox.init_app(app, session=session)
    outbox.enqueue(hello(2), session, kind="few")

    def second() -> None:
        with Session(engine) as own, app.app_context():
            own.execute(sa.select(OutboxMessage.id)).all()  # MariaDB takes its snapshot before the first has ended
            outbox.enqueue(hello(3), own, kind="few")
            own.commit()

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    getattr(session, end)()
    thread.join(30)
    assert tokens(engine) == ["0", "1", "2" if end == "commit" else "3"]


def test_what_is_past_is_purged(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The row goes when nothing in it counts any more."""
    outbox.enqueue(hello(0), kind="few")
    session.commit()
    for seconds, left in ((0, 1), (3601, 0)):
        pass_by(engine, seconds) if seconds else None
        with engine.begin() as connection:
            operations.purge(connection, older_than=60, limit=100)
            assert connection.execute(sa.select(sa.func.count()).select_from(OutboxThrottle)).scalar_one() == left
    outbox.enqueue(hello(1), kind="few")
    session.commit()
    assert tokens(engine) == ["0", "1"]


def test_other_kinds_ask_nothing(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """No statement is added to mail without throttle and replace."""

    def count(act: Callable[[], object]) -> list[str]:
        seen: list[str] = []
        listener: Callable[..., None] = lambda connection, cursor, text, *more: seen.append(text)  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        act()
        session.commit()
        event.remove(engine, "before_cursor_execute", listener)
        return seen

    outbox.enqueue(hello(0))  # MariaDB is asked once for its packet
    session.commit()
    without, plain = (count(lambda kind=kind: outbox.enqueue(hello(1), kind=kind)) for kind in (None, "plain"))  # type: ignore[misc]
    assert len(plain) == len(without)
    assert not any("throttle" in text for text in plain)
    assert any("throttle" in text for text in count(lambda: outbox.enqueue(hello(1), kind="few")))
