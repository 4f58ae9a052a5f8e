"""Signals: what an application is told of its mail, when, by whom, and that no receiver does harm."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from blinker import NamedSignal
from flask import Flask, current_app
from sqlalchemy.orm import Session, scoped_session

import outbox as package
from outbox import Message, Outbox, message_queued
from outbox.delivery.states import State
from outbox.store.enqueue import Posting
from outbox.worker import process
from tests.db.mails import put, states
from tests.wire.server import SmtpServer

Db = scoped_session[Session]
ENDINGS = {
    "delivery_sent": "250 2.0.0 queued as 4711",
    "delivery_retried": "451 4.3.0 later",
    "delivery_failed": "550 5.1.1 no such user",
}


def hello(*recipients: str) -> Message:
    return Message("Hello", recipients=[*recipients] or ["ann@example.org"], body="the secret body")


@contextlib.contextmanager
def heard(signal: NamedSignal) -> Iterator[list[dict[str, Any]]]:
    """What the receivers of `signal` are told."""
    told: list[dict[str, Any]] = []

    def receive(app: Flask, **facts: Any) -> None:
        told.append({"app": app, "thread": threading.current_thread().name, "current": current_app.name, **facts})

    with signal.connected_to(receive):
        yield told


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def worker_app(make_app: Callable[..., Flask], server: SmtpServer) -> Flask:
    """An application whose worker sends."""
    return make_app(
        MAIL_SUPPRESS_SEND=False,
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=server.port,
        OUTBOX_CONNECTIONS=1,
        OUTBOX_WAKE=False,
    )


@pytest.mark.usefixtures("context")
def test_queued_is_sent_after_the_commit_and_only_then(app: Flask, outbox: Outbox, db: Db) -> None:
    """Once for each new message: not for what was rolled back, nor for a key that was taken."""
    with heard(message_queued) as told:
        outbox.enqueue(hello())
        db.rollback()
        with db.begin_nested():
            first = outbox.enqueue(hello("ann@example.org", "bob@example.org"), key="k", kind="news")
        outbox.enqueue(hello("ann@example.org", "bob@example.org"), key="k")
        assert told == []
        db.commit()
        db.commit()
    (one,) = told
    assert (one["app"], one["recipients"], one["kind"]) == (app, 2, "news")
    assert one["message_id"] == first.message_id


def test_queued_is_sent_without_a_session_of_the_application(make_app: Callable[..., Flask], engine: sa.Engine) -> None:
    """The outbox's own transaction is over then."""
    app = make_app(session=None, OUTBOX_DATABASE_URL=engine.url)
    with app.app_context(), heard(message_queued) as told:
        app.extensions["outbox"].send(hello())
    assert len(told) == 1


@pytest.mark.usefixtures("context")
def test_a_receiver_that_raises_breaks_neither_the_commit_nor_the_others(
    outbox: Outbox, db: Db, committed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged on one line, without the words of its error."""

    def broken(app: Flask, **told: Any) -> None:
        raise ValueError("mine\nand private")

    with message_queued.connected_to(broken), heard(message_queued) as told, message_queued.connected_to(broken):
        sent = outbox.enqueue(hello())
        db.commit()
    assert committed.subjects() == ["Hello"]
    assert len(told) == 1
    (line,) = {record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR}
    assert line.startswith(f"{sent.message_id}: a receiver of outbox-message-queued failed: ValueError at ")
    assert "\n" not in line


@pytest.mark.parametrize("name", ENDINGS)
def test_what_became_of_a_delivery(worker_app: Flask, engine: sa.Engine, server: SmtpServer, name: str) -> None:
    """Told after it is recorded, in a thread of its own, with the server's words."""
    server.script["dot"] = ENDINGS[name]
    put(engine, posting=Posting(kind="news"), message_id="<7@example.org>")
    with heard(getattr(package, name)) as told:
        process.run(worker_app, once=True)
    (one,) = told
    code, enhanced, reply = ENDINGS[name].split(" ", 2)
    assert (one["code"], one["enhanced"], one["reply"]) == (int(code), enhanced, reply)
    assert (one["message_id"], one["recipient"], one["kind"]) == ("<7@example.org>", "to@example.org", "news")
    assert (one["thread"], one["current"], one["phase"]) == ("outbox-receivers", worker_app.name, "dot")
    assert one["duration"] > 0
    assert (one["delay"] is not None) == (name == "delivery_retried")


def test_uncertain_is_told_too(worker_app: Flask, engine: sa.Engine, server: SmtpServer) -> None:
    """The connection is lost after the dot of a mail that shall be held then."""
    from outbox.delivery.states import OnUncertain
    from tests.wire.actions import Close

    server.script["dot"] = Close()
    put(engine, posting=Posting(on_uncertain=OnUncertain.HOLD))
    with heard(package.delivery_uncertain) as told:
        process.run(worker_app, once=True)
    assert [one["reason"] for one in told] == ["unknown"]


def test_a_raising_receiver_never_breaks_delivery(worker_app: Flask, engine: sa.Engine, server: SmtpServer) -> None:
    """Every mail is sent once and recorded."""

    def broken(app: Flask, **told: Any) -> None:
        raise RuntimeError

    for number in range(20):
        put(engine, message_id=f"<{number}@example.org>")
    with package.delivery_sent.connected_to(broken):
        assert process.run(worker_app, drain=True) == 0
    assert set(states(engine).values()) == {State.SENT}
    assert len(server.messages) == 20


def test_another_applications_mail_is_not_told(worker_app: Flask, engine: sa.Engine) -> None:
    """A receiver that is connected to one application hears of that one."""
    told: list[Any] = []
    other = Flask("other")
    put(engine)
    with package.delivery_sent.connected_to(lambda app, **more: told.append(app), sender=other):
        process.run(worker_app, once=True)
    assert told == []
