"""Plain SQLAlchemy, its session a `scoped_session` that is removed at the end of each request.

flask --app examples/scoped_session_app.py run
flask --app examples/scoped_session_app.py outbox-sender
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

import outbox.schema
from outbox import Message, Outbox, Settings

mail = Outbox()  # was: mail = Mail()


class Base(DeclarativeBase):
    pass


outbox.schema.follow(Base.metadata)  # create_all() makes the outbox's tables as well


class Order(Base):
    __tablename__ = "order"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///scoped_session_app.sqlite"))
    session = scoped_session(sessionmaker(engine))
    mail.init_app(app, session=session)  # was: mail.init_app(app)
    app.teardown_appcontext(lambda error: session.remove())
    Base.metadata.create_all(engine)

    @app.post("/")
    def order() -> str:
        session.add(new := Order(email=request.form["email"]))
        session.flush()
        message = Message(f"Order {new.id}", recipients=[new.email], body="We have it.")
        mail.enqueue(message, kind="order", key=f"order-{new.id}")  # twice the same key is one message
        session.commit()  # both, or neither
        return "Thank you."

    return app
