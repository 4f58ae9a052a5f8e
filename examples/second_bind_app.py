"""Two databases: the outbox is in that of the rows which its mail is about.

    flask --app examples/second_bind_app.py run
    flask --app examples/second_bind_app.py outbox-sender

Mail is atomic with the rows of one database. Here that is the bind "shop"; the visits in the default database commit
by themselves, whatever becomes of an order.
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

import outbox.models
import outbox.schema
from outbox import Outbox, Settings

db = SQLAlchemy()
mail = Outbox()  # was: mail = Mail()
outbox.models.Base.metadata.info["bind_key"] = "shop"  # before the first message; without it: the default database


class Visit(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)


class Order(db.Model):  # type: ignore[name-defined, misc]
    __bind_key__ = "shop"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


outbox.schema.follow(db.metadatas["shop"])  # create_all() makes the outbox's tables there as well


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("VISITS_URL", "sqlite:///second_bind_visits.sqlite"),
        SQLALCHEMY_BINDS={"shop": os.environ.get("DATABASE_URL", "sqlite:///second_bind_app.sqlite")},
        MAIL_DEFAULT_SENDER="shop@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    with app.app_context():
        db.create_all()

    @app.post("/")
    def order() -> ResponseReturnValue:
        db.session.add(Visit())
        db.session.commit()
        db.session.add(new := Order(email=request.form["email"]))
        mail.send_message("Your order", recipients=[new.email], body="We have it.")
        try:
            db.session.commit()  # the order and its mail, or neither
        except IntegrityError:
            db.session.rollback()
            return "You have one already.", 409
        return "Thank you."

    return app
