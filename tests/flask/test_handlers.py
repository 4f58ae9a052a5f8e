"""`mail.on`: what may be registered, and the signal of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from outbox import ConfigurationError, MailEvent, Outbox, event_recorded
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.operations import events
from outbox.schema import create


def note(session: Session, event: MailEvent) -> None:
    """A handler."""


async def later(session: Session, event: MailEvent) -> None:
    """No handler."""


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (lambda mail: mail.on("eaten")(note), "there is no type 'eaten'"),
        (lambda mail: mail.on()(note), "it names no type"),
        (lambda mail: mail.on("sent")(lambda session, event: None), "a lambda has no name"),
        (lambda mail: mail.on("sent")(later), "it is a coroutine function"),
        (lambda mail: mail.on("sent", name="webhook:x")(note), "its name is not a text"),
        (lambda mail: mail.on("failed")(mail.on("sent")(note)), "there is a handler of this name already"),
    ],
)
def test_what_is_refused(register: Any, said: str) -> None:
    """Where it is registered, with the reason."""
    with pytest.raises(ConfigurationError, match=said):
        register(Outbox())


def test_a_name_is_that_of_the_function_or_as_given() -> None:
    """By which its work is found again after a deployment; of several kinds, all are meant."""
    mail = Outbox()
    assert mail.on("sent", kind="news")(note) is note
    mail.on("bounced", "complained", kind=("news", "receipt"), name="list")(note)
    mail.on("sent", name="all")(note)
    assert [one.name for one in mail.handlers] == [f"{__name__}.note", "list", "all"]
    mail.init_app(Flask(__name__), session=lambda: None)
    with pytest.raises(ConfigurationError):
        mail.on("failed", name="all")(note)


def test_a_signal_for_each_event_that_is_new(tmp_path: Path) -> None:
    """After the commit, also for what proves nothing; one that was recorded before is not told again."""
    app = Flask(__name__)
    app.config.update(OUTBOX_DATABASE_URL=f"sqlite:///{tmp_path / 'outbox.sqlite'}", MAIL_DEFAULT_SENDER="a@b.example")
    mail = Outbox(app)
    engine = mail.database(app)
    with engine.begin() as connection:
        create(connection)
    told: list[Any] = []

    @event_recorded.connect_via(app)
    def receive(sender: Flask, *, event: Any, **more: Any) -> None:
        told.append((event.event.type, event.delivery_id))

    bounce = ReportedEvent(EventType.BOUNCED, "report", "1", recipient="gone@b.example")
    for _ in range(2):
        events.record(engine, mail.settings(app), [bounce])
    assert told == [(EventType.BOUNCED, None)]
