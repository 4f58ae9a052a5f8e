"""Flask-SQLAlchemy: the mail is a row in the same transaction as the subscriber.

flask --app examples/flask_sqlalchemy_app.py run
flask --app examples/flask_sqlalchemy_app.py outbox-sender
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from outbox import Outbox, Settings
from outbox.models import Base as OutboxBase

db = SQLAlchemy()
mail = Outbox()  # was: mail = Mail()


class Subscriber(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///flask_sqlalchemy_app.sqlite"),
        MAIL_DEFAULT_SENDER="news@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    with app.app_context():
        db.create_all()
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
            db.session.rollback()
            return "You are one already.", 409
        return "Welcome."

    return app
