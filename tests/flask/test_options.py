"""What goes into a message besides what it says: the envelope's sender, its thread, headers and Reply-To for all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_mail import Attachment
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

from outbox import KeyTakenError, Message, MessageError, Outbox
from tests.flask.conftest import Committed

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]


def hello(**fields: Any) -> Message:
    return Message(**{"subject": "Re: Hello", "recipients": ["ann@example.org"], "body": "x"} | fields)


def order(**fields: Any) -> Message:
    """With an attachment that is stored by itself."""
    return hello(**{"attachments": [Attachment("a.bin", "application/octet-stream", b"x" * 9000)]} | fields)


THREAD: dict[str, Any] = {
    "envelope_from": "bounces@example.org",
    "in_reply_to": "<2@example.org>",
    "references": ["<1@example.org>"],
}


@pytest.mark.parametrize("way", ["enqueue", "send_email", "enqueue_many", "enqueue_many, each"])
def test_an_answer_by_each_way(way: str, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed) -> None:
    """The thread's headers and the envelope, without a change to the caller's message."""
    app = make_app()
    app.jinja_loader = DictLoader({"mail/answer.txt": "{{ name }}"})
    with app.app_context():
        message = hello()
        if way == "enqueue":
            outbox.enqueue(message, **THREAD)
        elif way == "send_email":
            outbox.send_email("ann@example.org", "Re: Hello", "mail/answer", name="Ann", **THREAD)
        elif way == "enqueue_many":
            outbox.enqueue_many([message], **THREAD)
        else:
            outbox.enqueue_many([(message, THREAD)], envelope_from="other@example.org")
        db.commit()
    assert committed.mail()["In-Reply-To"] == "<2@example.org>"
    assert committed.mail()["References"] == "<1@example.org> <2@example.org>"
    assert committed.messages()[0].envelope_from == "bounces@example.org"
    assert message.extra_headers is None


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    ("options", "in_reply_to", "references"),
    [
        ({"in_reply_to": "2@example.org"}, "<2@example.org>", "<2@example.org>"),
        ({"references": "<1@example.org>\r\n <2@example.org>"}, None, "<1@example.org> <2@example.org>"),
        (
            {"in_reply_to": "<2@example.org>", "references": "<1@example.org> <2@example.org>"},
            "<2@example.org>",
            "<1@example.org> <2@example.org>",
        ),
    ],
)
def test_the_forms_of_a_thread(
    options: Any, in_reply_to: str | None, references: str, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """With or without brackets, as a list or as the header has it; what is answered ends the references."""
    outbox.enqueue(hello(extra_headers={"in-reply-to": "<0@example.org>"} if in_reply_to else None), **options)
    db.commit()
    assert committed.mail()["In-Reply-To"] == in_reply_to
    assert committed.mail()["References"] == references


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("wrong", ["two words", "<a@b> c@d\r\nBcc: eve@example.org", [1]])
def test_what_is_no_message_id_is_refused(wrong: Any, outbox: Outbox, db: Db, committed: Committed) -> None:
    """With the field's name; the transaction stays usable."""
    with pytest.raises(MessageError, match="references"):
        outbox.enqueue(hello(), references=wrong)
    outbox.send(hello())
    db.commit()
    assert len(committed.messages()) == 1


class TestForAll:
    """OUTBOX_REPLY_TO and OUTBOX_HEADERS."""

    SETTINGS = {
        "OUTBOX_REPLY_TO": ("Help", "help@example.org"),
        "OUTBOX_HEADERS": '{"X-Mailer": "shop", "X-Team": "payments"}',
    }

    def test_each_message_has_them(self, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed) -> None:
        """Mail of extensions, too, which know nothing of them."""
        app = make_app(**self.SETTINGS)
        with app.app_context():
            app.extensions["mail"].send(hello())
            db.commit()
        mail = committed.mail()
        assert (mail["Reply-To"], mail["X-Mailer"], mail["X-Team"]) == ("Help <help@example.org>", "shop", "payments")

    def test_its_own_go_before(self, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed) -> None:
        """By name, in whatever letters."""
        with make_app(**self.SETTINGS).app_context():
            outbox.send(hello(reply_to="ann@example.org", extra_headers={"x-mailer": "own"}))
            db.commit()
        mail = committed.mail()
        assert (mail["Reply-To"], mail.get_all("X-Mailer"), mail["X-Team"]) == ("ann@example.org", ["own"], "payments")

    @pytest.mark.parametrize(
        "wrong", ['{"X Mailer": "a"}', '{"X": "a\\nBcc: b"}', '{"Subject": "x"}', "X-Mailer: a", ["a"]]
    )
    def test_what_no_message_may_have_is_a_fault_at_start(self, wrong: Any, make_app: MakeApp) -> None:
        """A setting that would break each message."""
        with pytest.raises(Exception, match="OUTBOX_HEADERS"):
            make_app(OUTBOX_HEADERS=wrong)


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    "other",
    [
        {"subject": "Another"},
        {"body": "y"},
        {"html": "<p>x</p>"},
        {"recipients": ["bob@example.org"]},
        {"bcc": ["bob@example.org"]},
        {"extra_headers": {"X-Order": "8"}},
        {"reply_to": "bob@example.org"},
        {"attachments": [Attachment("a.bin", "application/octet-stream", b"y" * 9000)]},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_key_with_other_content(other: Any, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Is told, before anything is written; with the same content it is one message, whenever and however made."""

    first = outbox.enqueue(order(), key="order-7")
    db.commit()
    with pytest.raises(KeyTakenError, match="order-7"):
        outbox.enqueue(order(**other), key="order-7")
    with pytest.raises(KeyTakenError, match="order-7"):
        outbox.enqueue(order(), key="order-7", envelope_from="bounces@example.org")
    assert outbox.enqueue(order(date=1.0), key="order-7").id == first.id
    assert outbox.enqueue_many([(order(), {"key": "order-7"})])[0].id == first.id
    with pytest.raises(KeyTakenError, match="order-7"):
        outbox.enqueue_many([(order(**other), {"key": "order-7"})])
    db.commit()
    assert len(committed.messages()) == 1


@pytest.mark.usefixtures("context")
def test_a_key_with_another_guard(outbox: Outbox, db: Db) -> None:
    """Is another message, too: one of the two conditions would be lost. Values count, not only the SQL."""
    id = sa.table("customer", sa.column("id")).c.id
    one = sa.exists().where(id == 7)
    first = outbox.enqueue(order(), key="order-7", guard=one)
    db.commit()
    assert outbox.enqueue(order(), key="order-7", guard=sa.exists().where(id == 7)).id == first.id
    for other in (sa.exists().where(id == 8), None):
        with pytest.raises(KeyTakenError, match="another guard"):
            outbox.enqueue(order(), key="order-7", guard=other)
        with pytest.raises(KeyTakenError, match="another guard"):
            outbox.enqueue_many([(order(), {"key": "order-7"})], guard=other)
    outbox.enqueue(order(), key="order-8")
    with pytest.raises(KeyTakenError, match="another guard"):
        outbox.enqueue(order(), key="order-8", guard=one)


@pytest.mark.usefixtures("context")
def test_a_key_whose_message_was_corrected_or_redacted(outbox: Outbox, db: Db, committed: Committed) -> None:
    """What was said at the time counts: a corrected recipient, text that was taken out since, make no difference."""
    message = outbox.enqueue(hello(html="<p>x</p>"), key="order-7")
    db.commit()
    message.skeleton = b""
    db.commit()
    assert outbox.enqueue(hello(html="<p>x</p>"), key="order-7").id == message.id
    with pytest.raises(KeyTakenError):
        outbox.enqueue(hello(html="<p>y</p>"), key="order-7")


@pytest.mark.usefixtures("context")
def test_what_messages_look_like(outbox: Outbox, db: Db) -> None:
    """In a debugger or a log: who and to whom, not what it says, and without asking the database."""
    message = Message("Hello", recipients=["ann@example.org"], cc=["bob@example.org"], body="secret")
    assert repr(message) == "<Message 'Hello' from 'shop@example.org' to ['ann@example.org', 'bob@example.org']>"
    assert len(repr(Message("x" * 900, recipients=[f"r{n}@example.org" for n in range(900)]))) < 300
    queued = outbox.enqueue(message, key="k")
    said = repr(queued)
    assert said.startswith(f"<OutboxMessage id={queued.id} message_id='<")
    assert "key='k'" in said
    db.commit()
    db.expunge_all()
    assert "secret" not in repr(queued)


class Stamped(Message):
    """As a subclass that signs does: other bytes at each call."""

    def as_bytes(self) -> bytes:
        head = b"From: shop@example.org\r\nTo: ann@example.org\r\nSubject: Signed\r\n"
        return head + b"X-Signature: " + secrets.token_hex(8).encode() + b"\r\n\r\nx\r\n"


@pytest.mark.usefixtures("context")
def test_a_key_of_what_is_new_each_time(outbox: Outbox, db: Db, committed: Committed) -> None:
    """A signature is not another content: where that can't be told, the key alone counts."""
    first = outbox.enqueue(Stamped("Signed", recipients=["ann@example.org"]), key="k")
    assert outbox.enqueue(Stamped("Signed", recipients=["ann@example.org"]), key="k").id == first.id
    db.commit()
    assert len(committed.messages()) == 1
