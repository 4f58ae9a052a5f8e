"""Flask-SQLAlchemy-Lite: the mail is a row in the same transaction as the subscriber.

flask --app examples/flask_sqlalchemy_lite_app.py run
flask --app examples/flask_sqlalchemy_lite_app.py outbox-sender
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from outbox import Outbox, Settings
from outbox.models import Base as OutboxBase

db = SQLAlchemy()
mail = Outbox()


class Base(DeclarativeBase):
    pass


class Subscriber(Base):
    __tablename__ = "subscriber"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_ENGINES={"default": os.environ.get("DATABASE_URL", "sqlite:///flask_sqlalchemy_lite_app.sqlite")},
        MAIL_DEFAULT_SENDER="news@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        OutboxBase.metadata.create_all(db.engine)

    @app.get("/")
    def form() -> str:
        return '<form method="post"><input name="email" type="email"><button>Subscribe</button></form>'

    @app.post("/")
    def subscribe() -> ResponseReturnValue:
        email = request.form["email"]
        db.session.add(Subscriber(email=email))
        mail.send_message("Welcome", recipients=[email], body="You are a subscriber now.")
        try:
            db.session.commit()  # both, or neither
        except IntegrityError:
            return "You are one already.", 409
        return "Welcome."

    return app
