"""An application that all providers may report to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

import outbox.web
from outbox import Message, Outbox
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxEvent, OutboxMessage, OutboxSuppression
from outbox.store.types import DbNow
from outbox.web.events import fetching
from outbox.web.events import sns as sns_messages
from tests.flask.webhooks.signers import Request, settings
from tests.servers.sns_server import TOPIC, SnsServer

PREFIX = "/hooks"


class Hooks:
    """The application, and what it has recorded."""

    def __init__(self, app: Flask, mail: Outbox, engine: sa.Engine) -> None:
        self.app = app
        self.mail = mail
        self.engine = engine

    def post(self, provider: str, request: Request | bytes) -> TestResponse:
        request = Request(request) if isinstance(request, bytes) else request
        kind = "text/plain; charset=UTF-8" if provider == "ses" else "application/json"
        client = self.app.test_client()
        return client.post(f"{PREFIX}/{provider}", data=request.body, headers=dict(request.headers), content_type=kind)

    def events(self) -> list[OutboxEvent]:
        with Session(self.engine) as session:
            return list(session.scalars(sa.select(OutboxEvent).order_by(OutboxEvent.id)))

    def suppressed(self) -> list[str | None]:
        with Session(self.engine) as session:
            return list(session.scalars(sa.select(OutboxSuppression.address).order_by(OutboxSuppression.address)))

    def send(self, *recipients: str, relay_id: str | None = None, message_id: str | None = None) -> None:
        """A message that a relay has taken, with this id in its 250."""
        with self.app.app_context():
            self.mail.send(Message("Hello", recipients=list(recipients), body="Text"))
        with Session(self.engine) as session, session.begin():
            newest = session.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id.desc()).limit(1)).one()
            if message_id is not None:
                newest.message_id = message_id
            of_it = sa.select(OutboxDelivery.id).where(OutboxDelivery.message_id == newest.id)
            for delivery in session.scalars(of_it):
                session.add(
                    OutboxAttempt(
                        delivery_id=delivery,
                        at=DbNow(),
                        phase="dot",
                        verdict="accepted",
                        code=250,
                        reply="Ok",
                        relay_id=relay_id,
                        duration=0.1,
                        counted=False,
                    )
                )


@pytest.fixture
def sns(monkeypatch: pytest.MonkeyPatch) -> Iterator[SnsServer]:
    """The only host that requests of this process reach."""
    with SnsServer() as server:
        server.install(monkeypatch)
        monkeypatch.setattr(sns_messages, "_KEYS", sns_messages.Keys())  # nothing is fetched yet
        monkeypatch.setattr(sns_messages, "_FETCHES", fetching.Fetches())
        monkeypatch.setattr(fetching, "_WAIT", 30.0)  # on a machine that does much else
        yield server


MakeHooks = Callable[..., Hooks]


@pytest.fixture
def make_hooks(engine: sa.Engine) -> MakeHooks:
    """Makes an application; settings that are None are left out."""

    def make(**config: object) -> Hooks:
        app = Flask("hooks")
        given = {"OUTBOX_DATABASE_URL": engine.url.render_as_string(hide_password=False), **settings()}
        given |= {"OUTBOX_SES_TOPICS": TOPIC, "MAIL_DEFAULT_SENDER": "shop@example.org", "SECRET_KEY": "x" * 32}
        app.config.update({name: value for name, value in {**given, **config}.items() if value is not None})
        mail = Outbox(app)
        app.register_blueprint(outbox.web.events_blueprint(), url_prefix=PREFIX)
        return Hooks(app, mail, engine)

    return make


@pytest.fixture
def hooks(make_hooks: MakeHooks) -> Hooks:
    return make_hooks()
