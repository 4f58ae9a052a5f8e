"""The application of the stories with handlers: each writes a row, and misbehaves as the environment says.

STORY_HANDLERS="sent failed bounced" registers `note` for these; STORY_HANG=1 a second one that never returns.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from outbox import MailEvent, Message, Outbox
from outbox.settings import Settings

NOTES = sa.Table(
    "shop_note",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("type", sa.String(16)),
    sa.Column("message_id", sa.String(320)),
    sa.Column("event", sa.String(64)),
    sa.Column("said", sa.String(200)),
    mysql_engine="InnoDB",
)


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """An application with its own rows beside its mail, on DATABASE_URL."""
    environ = os.environ if environ is None else environ
    app = Flask(__name__)
    app.config.update(Settings.from_env(environ))
    engine = sa.create_engine(environ["DATABASE_URL"], pool_pre_ping=True)
    mail = Outbox()
    register(mail, environ)
    session = None if environ.get("STORY_SESSION") == "none" else scoped_session(sessionmaker(engine))
    app.config["OUTBOX_DATABASE_URL"] = environ["DATABASE_URL"]
    mail.init_app(app, session=session)
    return app


def register(mail: Outbox, environ: Mapping[str, str]) -> None:
    """The handlers that the environment asks for."""

    def note(session: Session, event: MailEvent) -> None:
        said = f"{event.reply.code} {event.reply.enhanced}" if event.reply else None
        session.execute(NOTES.insert().values(type=event.type, message_id=event.message_id, event=event.id, said=said))
        if slow := environ.get("STORY_SLOW"):
            threading.Event().wait(float(slow))
        session.commit()  # as many would: it commits nothing yet
        if event.metadata == {"fails": True}:
            raise RuntimeError("as asked for")

    def hang(session: Session, event: MailEvent) -> None:
        if environ.get("STORY_HANG") == "after a write":
            session.execute(NOTES.insert().values(type="hang", message_id=event.message_id))
        threading.Event().wait()

    if environ.get("STORY_DIGEST"):
        mail.digest("comments", window=0.2)(lambda gathered: Message(f"{gathered.items}", sender="shop@example.org"))
    if types := environ.get("STORY_HANDLERS", "").split():
        mail.on(*types, name="note")(note)
    if environ.get("STORY_HANG"):
        mail.on("sent", name="hang")(hang)


def notes(engine: sa.Engine) -> list[Any]:
    """What the handlers have written."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(NOTES).order_by(NOTES.c.id)).all())
