"""`@mail.before_enqueue`: the application changes or refuses each message, in the request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_mail
import pytest
from flask import Flask
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

from outbox import Message, MessageError, Outbox, RefusedError
from outbox.delivery.states import Lane
from tests.flask.conftest import Committed

Db = scoped_session[Session]


def hello(**fields: Any) -> Message:
    return Message(**{"subject": "Hello", "recipients": ["ann@example.org"], "body": "x"} | fields)


WAYS: dict[str, Callable[[Outbox, Message], object]] = {
    "send": lambda mail, message: mail.send(message),
    "enqueue": lambda mail, message: mail.enqueue(message),
    "enqueue_many": lambda mail, message: mail.enqueue_many([message]),
    "enqueue_many, each": lambda mail, message: mail.enqueue_many([(message, {"priority": "high"})]),
    "connect": lambda mail, message: mail.connect().send(message),
    "extension": lambda mail, message: flask_mail.current_app.extensions["mail"].send(message),
    "send_email": lambda mail, message: mail.send_email("ann@example.org", "Hello", "mail/hello"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_message_is_changed(way: str, app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """By each way; the caller's own object stays as it is, so that it can be sent again."""
    app.jinja_loader = DictLoader({"mail/hello.txt": "x"})

    @outbox.before_enqueue
    def mark(message: flask_mail.Message, options: dict[str, Any]) -> None:
        message.subject = f"[Shop] {message.subject}"
        message.bcc.append("archive@example.org")
        options["priority"] = "bulk"
        options["kind"] = "marked"

    with app.app_context():
        message = hello()
        for _ in range(2):
            WAYS[way](outbox, message)
        db.commit()
    assert committed.subjects() == ["[Shop] Hello"] * 2
    assert sorted(committed.recipients()) == ["ann@example.org"] * 2 + ["archive@example.org"] * 2
    assert {(one.lane, one.kind) for one in committed.messages()} == {(Lane.BULK.rank, "marked")}
    assert (message.subject, message.bcc) == ("Hello", [])


def test_in_their_order(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Each sees what the one before has done."""
    for word in ("one", "two"):
        outbox.before_enqueue(
            lambda message, options, word=word: setattr(message, "subject", f"{message.subject} {word}")
        )  # type: ignore[misc]
    with app.app_context():
        outbox.enqueue(hello())
        db.commit()
    assert committed.subjects() == ["Hello one two"]


@pytest.mark.parametrize("error", [RefusedError("no mail at night"), LookupError("of the application's own")])
def test_it_refuses(error: Exception, app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """What it raises comes through, nothing is written, and the transaction goes on."""

    @outbox.before_enqueue
    def refuse(message: flask_mail.Message, options: dict[str, Any]) -> None:
        if message.subject == "no":
            raise error

    with app.app_context():
        outbox.enqueue(hello())
        with pytest.raises(type(error)) as caught:
            outbox.enqueue(hello(subject="no"))
        with pytest.raises(type(error)):
            outbox.enqueue_many([hello(), hello(subject="no")])
        db.commit()
    assert committed.subjects() == ["Hello"]
    if isinstance(error, RefusedError):
        assert isinstance(caught.value, MessageError)
        assert str(caught.value).startswith("message: was refused by a hook of the application: no mail at night.")


def test_what_it_says_is_checked(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """As if the caller had said it; an option that does not exist, and an answer, are errors."""
    said: dict[str, Any] = {}
    answer: list[object] = []

    @outbox.before_enqueue
    def hook(message: flask_mail.Message, options: dict[str, Any]) -> Any:
        options.update(said)
        return answer[0] if answer else None

    with app.app_context():
        said.update(priority="urgent")
        with pytest.raises(MessageError, match="priority"):
            outbox.enqueue(hello())
        said.clear()
        said.update(urgent=True)
        with pytest.raises(TypeError, match="unexpected keyword argument 'urgent'"):
            outbox.enqueue(hello())
        said.clear()
        answer.append(False)
        with pytest.raises(TypeError, match=r"hook .*hook returned a bool.* raise RefusedError to refuse it"):
            outbox.enqueue(hello())
        db.commit()
    assert committed.subjects() == []


def test_the_policy_is_that_of_the_kind_it_chooses(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """The hook goes first."""
    outbox.kind("news", priority="bulk", sender="news@example.org")
    outbox.before_enqueue(lambda message, options: options.update(kind="news"))
    with app.app_context():
        outbox.enqueue(hello())
        db.commit()
    assert committed.mail()["From"] == "news@example.org"
    assert committed.messages()[0].lane == Lane.BULK.rank


def test_who_listens_gets_what_was_enqueued(app: Flask, outbox: Outbox, db: Db) -> None:
    """`record_messages` has the changed message; the caller's knows the Message-ID that it went out with."""
    outbox.before_enqueue(lambda message, options: setattr(message, "subject", "Changed"))
    with app.app_context(), outbox.record_messages() as recorded:
        message = hello()
        stored = outbox.enqueue(message)
        db.commit()
        assert message.msgId == stored.message_id
    assert [(one.subject, one.msgId) for one in recorded] == [("Changed", message.msgId)]


def test_a_message_scheduled_again_gets_its_own_date(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """A copy for the hooks does not keep the date of the time before."""
    outbox.before_enqueue(lambda message, options: None)
    at = datetime.now(UTC) + timedelta(days=7)
    with app.app_context():
        message = hello()
        outbox.send(message)
        db.rollback()
        outbox.enqueue(message, send_at=at)
        db.commit()
    assert str(at.year) in str(committed.mail()["Date"])
    assert f"{at.day:02d} " in str(committed.mail()["Date"]) or f"{at.day} " in str(committed.mail()["Date"])


@pytest.mark.usefixtures("context")
def test_what_is_no_message(outbox: Outbox) -> None:
    """Is told as without hooks."""
    outbox.before_enqueue(lambda message, options: None)
    with pytest.raises(MessageError, match="message: is of type str"):
        outbox.enqueue("Hello")  # type: ignore[arg-type]
