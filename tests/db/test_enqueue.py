"""`Outbox.enqueue` on each database: one transaction with the caller's rows, and nothing that spoils it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session

from outbox import KeyTakenError, Message, MessageError, Outbox
from outbox.delivery.states import Lane
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.operations import wire
from tests.servers.databases import Database

ORDERS = sa.Table("orders", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True, autoincrement=False))


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    """The application's engine, with a table of the application's own."""
    ORDERS.create(database.engine)
    return database.engine


def hello(**fields: Any) -> Message:
    return Message(**{"subject": "Hello", "recipients": ["ann@example.org", "bob@example.org"], "body": "b"} | fields)


def order(session: Session, number: int) -> None:
    session.execute(sa.insert(ORDERS).values(number=number))


def counts(engine: sa.Engine) -> tuple[int, int, int]:
    """Orders, messages and deliveries that are committed."""
    with engine.connect() as connection:
        return tuple(  # type: ignore[return-value]
            connection.scalar(sa.select(sa.func.count()).select_from(table))
            for table in (ORDERS, OutboxMessage, OutboxDelivery)
        )


def test_mail_and_business_rows_are_one(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Both are there after a commit, neither before it, and neither after a rollback."""
    order(session, 1)
    outbox.send(hello())
    session.rollback()
    assert counts(engine) == (0, 0, 0)
    order(session, 2)
    outbox.send(hello())
    assert session.in_transaction()
    session.commit()
    assert counts(engine) == (1, 1, 2)


def test_business_row_that_fails_takes_the_mail_with_it(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """A constraint that breaks after the mail was enqueued leaves nothing of either."""
    order(session, 1)
    session.commit()
    outbox.send(hello())
    with pytest.raises(sa.exc.IntegrityError):
        order(session, 1)
    session.rollback()
    session.commit()
    assert counts(engine) == (1, 0, 0)


def test_savepoint(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Mail enqueued in a savepoint goes with it; what stands outside stays."""
    order(session, 1)
    outbox.send(hello(subject="outside"))
    savepoint = session.begin_nested()
    outbox.send(hello(subject="inside"))
    savepoint.rollback()
    with session.begin_nested():
        outbox.send(hello(subject="released"))
    session.commit()
    assert list(session.scalars(sa.select(OutboxMessage.subject).order_by(OutboxMessage.id))) == ["outside", "released"]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("message", "options"),
    [
        ({"recipients": []}, {}),
        ({"recipients": ["nobody"]}, {}),
        ({"subject": "a\0b"}, {}),
        ({"extra_headers": {"X-A": "a\r\nBcc: c@example.org"}}, {}),
        ({"body": "x" * 26_300_000}, {}),
        ({}, {"priority": "urgent"}),
        ({}, {"send_at": datetime(2099, 1, 1)}),  # noqa: DTZ001
        ({}, {"key": "a\0"}),
    ],
)
def test_refused_before_anything_is_written(
    message: dict[str, Any], options: dict[str, Any], engine: sa.Engine, session: Session, outbox: Outbox
) -> None:
    """What is refused costs no statement, and the caller's transaction goes on."""
    order(session, 1)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with pytest.raises(MessageError):
        outbox.enqueue(hello(**message), **options)
    assert statements == []
    outbox.send(hello())
    session.commit()
    assert counts(engine) == (1, 1, 2)


def test_one_connection(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Enqueueing uses the session's own connection and leaves it in its transaction."""
    order(session, 1)
    connected: list[Any] = []
    event.listen(engine, "checkout", lambda *arguments: connected.append(arguments))
    outbox.enqueue(hello(attachments=[]), key="k", kind="order", metadata={"order": 1})
    assert connected == []
    session.commit()
    assert counts(engine) == (1, 1, 2)


def test_pending_objects_are_not_flushed(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Enqueueing does not force out what the application has not flushed, which may still be incomplete."""
    outbox.send(hello())
    incomplete = OutboxMessage(subject="incomplete")
    session.add(incomplete)
    outbox.send(hello())
    assert incomplete in session.new
    session.expunge(incomplete)
    session.commit()
    assert counts(engine) == (0, 2, 4)


def test_returned_message(session: Session, outbox: Outbox) -> None:
    """`enqueue` returns the message, which can be read before and after the commit, its deliveries too."""
    message = outbox.enqueue(hello(subject="Grüße 🎉"), key="k", metadata={"note": "日本語 🎉", "n": [1, None, True]})
    assert (message.subject, message.key, message.kind) == ("Grüße 🎉", "k", None)
    assert message.metadata_ == {"note": "日本語 🎉", "n": [1, None, True]}
    assert [delivery.recipient for delivery in message.deliveries] == ["ann@example.org", "bob@example.org"]
    session.commit()
    assert message.metadata_ == {"note": "日本語 🎉", "n": [1, None, True]}
    assert message.subject == "Grüße 🎉"
    assert message.created_at.tzinfo is not None


def test_the_returned_message_is_its_row(session: Session, outbox: Outbox) -> None:
    """Whatever is asked of it is as another reader finds it, before the commit and after it."""
    message = outbox.enqueue(hello(), kind="order", metadata={"number": 1})
    names = [attribute.key for attribute in sa.inspect(OutboxMessage).column_attrs]
    for _ in range(2):
        row = session.execute(sa.select(OutboxMessage.__table__)).one()
        assert [getattr(message, name) for name in names] == list(row)
        assert [one.recipient for one in message.deliveries] == ["ann@example.org", "bob@example.org"]
        session.commit()


def test_each_message_has_its_own_options(session: Session, outbox: Outbox) -> None:
    """One statement serves many messages; what is part of its text is not taken from one for another."""
    ways = [(lane, policy) for lane in ("high", "normal", "bulk") for policy in ("retry", "hold")]
    for lane, policy_ in [*ways, *reversed(ways)]:
        sent = outbox.enqueue(hello(recipients=["ann@example.org"]), priority=lane, on_uncertain=policy_)
        (delivery,) = sent.deliveries
        assert (sent.lane, sent.on_uncertain) == (Lane(lane).rank, policy_)
        assert delivery.lane == Lane(lane).slot(retry=False)
    for sender, needed in (("jörg@example.org", True), ("ann@example.org", False), ("jörg@example.org", True)):
        assert outbox.enqueue(hello(sender=sender)).smtputf8 is needed


def test_the_same_key_in_one_transaction_and_in_two(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """The second call returns the first message and writes nothing; for another content the key is taken."""
    first = outbox.enqueue(hello(), key="order-1")
    assert outbox.enqueue(hello(), key="order-1") is first
    session.commit()
    with pytest.raises(KeyTakenError, match="other content"):
        outbox.enqueue(hello(recipients=["eve@example.org"]), key="order-1")
    assert outbox.enqueue(hello(), key="ORDER-1") is not first
    session.commit()
    assert counts(engine) == (0, 2, 4)


def test_a_request_that_is_tried_again(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """A commit whose reply was lost was a commit: the same request once more makes no second message."""
    outbox.enqueue(hello(), key="order-1")
    session.commit()
    session.close()
    engine.dispose()
    with Session(engine) as again:
        message = outbox.enqueue(hello(), again, key="order-1")
        assert message.subject == "Hello"
        again.commit()
    assert counts(engine) == (0, 1, 2)


@pytest.mark.parametrize(("first_commits", "expected"), [(True, ["first"]), (False, ["second"])])
def test_a_key_in_a_transaction_that_has_not_ended(
    first_commits: bool, expected: list[str], engine: sa.Engine, session: Session, outbox: Outbox
) -> None:
    """Who comes second waits for the end of the first; if that is a rollback, the second one's message counts."""
    app = outbox._bound().app
    outbox.enqueue(hello(), key="k", kind="first")
    started = threading.Event()
    failures: list[Exception] = []

    def second() -> None:
        try:
            with app.app_context(), Session(engine) as other:
                started.set()
                outbox.enqueue(hello(), other, key="k", kind="second")
                other.commit()
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=second)
    thread.start()
    assert started.wait(10)
    thread.join(0.2)
    assert thread.is_alive()
    if first_commits:
        session.commit()
    else:
        session.rollback()
    thread.join(30)
    assert failures == []
    with engine.connect() as connection:
        assert list(connection.scalars(sa.select(OutboxMessage.kind))) == expected


def test_bytes_come_back(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Text, attachment and headers are the same to the byte after a round trip through the database."""
    image = bytes(range(256)) * 300
    message = hello(subject="日本語 🎉", body="Grüße\n", html="<p>Grüße</p>", extra_headers={"X-Campaign": "ä"})
    message.attach("Übersicht.bin", "application/octet-stream", image)
    pk = outbox.enqueue(message).id
    session.commit()
    with engine.connect() as connection:
        read = message_from_bytes(wire(connection, pk), policy=policy.default)
    assert (read["Subject"], read["X-Campaign"]) == ("日本語 🎉", "ä")
    alternatives, attachment = read.iter_parts()
    assert [part.get_content() for part in alternatives.iter_parts()] == ["Grüße\r\n", "<p>Grüße</p>"]
    assert attachment.get_content() == image


def test_times(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """A date is kept to the microsecond; without one the mail is due at once, and it expires five days after that."""
    ahead = datetime(2099, 7, 1, 12, 30, 15, 123456, tzinfo=UTC)
    later = outbox.enqueue(hello(), send_at=ahead)
    at_once = outbox.enqueue(hello())
    exactly = outbox.enqueue(hello(), send_at=ahead, expires_at=ahead + timedelta(microseconds=1))
    session.commit()
    assert {delivery.due_at for delivery in later.deliveries} == {ahead}
    assert later.expires_at == ahead + timedelta(days=5)
    assert exactly.expires_at == ahead + timedelta(microseconds=1)
    assert at_once.expires_at is not None
    assert abs(at_once.expires_at - at_once.created_at - timedelta(days=5)) < timedelta(seconds=1)
    due_at = at_once.deliveries[0].due_at
    assert due_at is not None
    assert abs(due_at - at_once.created_at) < timedelta(seconds=1)


def test_without_a_session(database: Database) -> None:
    """By OUTBOX_DATABASE_URL alone each mail is committed at once."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL=database.url)
    outbox = Outbox(app)
    with app.app_context():
        message = outbox.enqueue(hello())
        assert message.created_at.tzinfo is UTC
    with database.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxDelivery)) == 2
    outbox.database(app).dispose()
