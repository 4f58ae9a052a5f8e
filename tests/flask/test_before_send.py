"""`@mail.before_send` and `guard=` as an application's tests meet them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.orm import Session, scoped_session

from outbox import Cancel, ConfigurationError, Hold, MailEvent, Message, MessageError, Outbox, Outgoing
from outbox.models import OutboxMessage
from outbox.testing.mailbox import Mailbox
from tests.flask.conftest import Committed

Db = scoped_session[Session]


def hello(name: str = "ann") -> Message:
    return Message("Hello", recipients=[f"{name}@example.org"], body="x")


def test_what_a_hook_gets_and_in_which_order(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """By value, in an app context; the first answer counts, and it is asked again at the next attempt."""
    seen: list[Outgoing] = []

    @outbox.before_send
    def look(outgoing: Outgoing) -> None:
        assert current_app.name == app.name
        seen.append(outgoing)

    @outbox.before_send(kind="news")
    def hold(outgoing: Outgoing) -> Hold | None:
        return Hold("at night", 120) if len(seen) == 1 else None

    @outbox.before_send(kind=["other"])
    def never(outgoing: Outgoing) -> Cancel:
        return Cancel("never")

    with app.app_context():
        outbox.enqueue(hello(), kind="news", key="k", metadata={"a": [1]}, envelope_from="bounce@example.org")
        db.commit()
    mailbox = Mailbox(app)
    (first,) = mailbox.drain()
    assert (first.state, first.reason, first.delay) == ("queued", "hook", 120)
    mailbox.travel(121)
    (second,) = mailbox.drain()
    assert second.state == "sent"
    assert [(one.recipient, one.sender, one.kind, one.key, one.metadata, one.attempts) for one in seen] == [
        ("ann@example.org", "bounce@example.org", "news", "k", {"a": [1]}, 0)
    ] * 2


def test_an_answer_that_means_nothing_sends_nothing(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """A hook that returns True or False may mean either: it is an error of the hook's."""
    outbox.before_send(lambda outgoing: False)  # type: ignore[arg-type, return-value]
    with app.app_context():
        outbox.enqueue(hello())
        db.commit()
    (only,) = Mailbox(app).drain()
    assert (only.state, only.reason) == ("queued", "hook")


def test_the_wait_is_that_of_the_kind(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """A code that is worth nothing after a minute is not asked about after a minute, where its kind says otherwise."""
    outbox.before_send(lambda outgoing: False)  # type: ignore[arg-type, return-value]
    outbox.kind("code", retry_first=7, retry_max=9)
    lost = sa.exists().where(sa.table("no_such_table", sa.column("id")).c.id == 1)
    with app.app_context():
        outbox.enqueue(hello(), kind="code")
        outbox.enqueue(hello(), kind="code", guard=lost)
        db.commit()
    assert sorted((one.reason, one.delay) for one in Mailbox(app).drain()) == [("guard", 7), ("hook", 7)]


def test_who_listens_is_told_of_what_they_cancel(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """With the reason; what a person cancels is not told."""
    told: list[tuple[str | None, str | None]] = []
    outbox.before_send(kind="never")(lambda outgoing: Cancel("no"))

    @outbox.on("cancelled", name="cancelled")
    def note(session: Session, event: MailEvent) -> None:
        told.append((event.key, event.reason))

    with app.app_context():
        outbox.enqueue(hello(), key="a", kind="never")
        outbox.enqueue(hello(), key="b", guard=sa.false())
        outbox.enqueue(hello(), key="c")
        db.commit()
        outbox.cancel(key="c")
        db.commit()
    Mailbox(app).drain()
    assert sorted(told) == [("a", "hook"), ("b", "guard")]


def test_a_coroutine_is_no_hook(outbox: Outbox) -> None:
    """It would never be awaited."""

    async def later(outgoing: Outgoing) -> None: ...

    with pytest.raises(ConfigurationError, match="coroutine"):
        outbox.before_send(later)  # type: ignore[arg-type]


def test_many_with_a_guard_each(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Shared by all, or of one's own; a faulty one is refused before anything is written, with its number."""
    there = sa.exists().where(OutboxMessage.key == "marker")
    with app.app_context():
        outbox.enqueue_many(
            [hello("a"), (hello("b"), {"guard": sa.true()}), (hello("c"), {"guard": None})], guard=there
        )
        with pytest.raises(MessageError, match="guard") as caught:
            outbox.enqueue_many([hello("d"), (hello("e"), {"guard": "1 = 1"})])
        assert "message 2" in str(caught.value.__notes__)
        db.commit()
    found = {one.recipient[0]: (one.state, one.reason) for one in Mailbox(app).drain()}
    assert found == {"a": ("cancelled", "guard"), "b": ("sent", None), "c": ("sent", None)}
