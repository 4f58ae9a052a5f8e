"""One input through real Flask-Mail, over SMTP, and through the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flask_mail
from flask import Flask
from sqlalchemy.orm import Session

import outbox
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.operations import wire
from tests.flask.comparison.reading import Sense, sense_of
from tests.wire.server import SmtpServer

NOTHING = object()
"""The value of an argument that is not given."""


@dataclass(frozen=True)
class Input:
    """What an application hands in: the arguments of Message, what it does to it then, and its configuration."""

    name: str
    arguments: Mapping[str, Any]
    then: Callable[[flask_mail.Message], Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    envelope_from: Any = None

    def message(self, message_class: type[flask_mail.Message]) -> flask_mail.Message:
        """A fresh one. A callable among the arguments makes its value, such as an iterator."""
        given: dict[str, Any] = {
            "subject": "Subject",
            "recipients": ["ann@example.org"],
            "body": "Text",
            "sender": "shop@example.com",
        } | dict(self.arguments)
        message = message_class(**{name: value for name, value in given.items() if value is not NOTHING})
        if self.then is not None:
            self.then(message)
        return message


def by_flask_mail(given: Input, server: SmtpServer) -> Sense:
    """As Flask-Mail sends it, nothing if it sends nothing. Raises what Flask-Mail raises."""
    app = Flask("flask_mail")
    app.config.update(MAIL_SERVER=server.host, MAIL_PORT=server.port, MAIL_DEFAULT_SENDER="default@example.com")
    app.config.update(given.config)
    mail = flask_mail.Mail(app)
    del server.messages[:]
    with app.app_context():
        message = given.message(flask_mail.Message)
        with mail.connect() as connection:
            connection.send(message, envelope_from=given.envelope_from)
    taken = list(server.messages)
    if not taken:
        return {}
    return sense_of(taken[0].mail_from, [mail.rcpt for mail in taken], taken[0].content, time.time())


def by_outbox(given: Input, session: Session, message_class: type[flask_mail.Message]) -> Sense:
    """As a worker would find it. Raises what the outbox raises. Nothing stays in the session."""
    app = Flask("outbox")
    app.config.update({"MAIL_DEFAULT_SENDER": "default@example.com", **given.config})
    mail = outbox.Outbox(app, session=lambda: session)
    with app.app_context():
        try:
            with mail.connect() as connection:
                connection.send(given.message(message_class), envelope_from=given.envelope_from)
            session.flush()
            message = session.query(OutboxMessage).one()
            recipients = session.scalars(session.query(OutboxDelivery.recipient).statement).all()
            widest = min(recipients, key=str.isascii)  # the form with all addresses
            content = wire(session.connection(), message.id, widest)
            return sense_of(message.envelope_from, recipients, content, time.time())
        finally:
            session.rollback()  # before the context ends, which would commit a transaction of nothing but mail
