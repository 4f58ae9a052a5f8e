"""Celery's workers send the outbox's mail: no process of its own, and no task of the application's.

    flask --app examples.celery_mail_app init-db
    flask --app examples.celery_mail_app run
    celery -A examples.celery_mail_app worker --concurrency 2
    celery -A examples.celery_mail_app beat

BROKER_URL names the broker: redis://localhost, or amqp://guest:guest@localhost for RabbitMQ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from celery import Celery
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import outbox.celery
import outbox.schema
from outbox import Message, Outbox, Settings

db = SQLAlchemy()
outbox.schema.follow(db.metadata)  # create_all() makes the outbox's tables as well
mail = Outbox()  # was: mail = Mail()


class Subscriber(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///celery_mail_app.sqlite"),
        MAIL_DEFAULT_SENDER="news@example.org",
        CELERY={"broker_url": os.environ.get("BROKER_URL", "redis://localhost")},
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)

    celery_app = Celery(app.name)
    celery_app.config_from_object(app.config["CELERY"])
    outbox.celery.connect(celery_app, app)
    app.extensions["celery"] = celery_app

    @app.post("/")
    def subscribe() -> tuple[str, int]:
        db.session.add(subscriber := Subscriber(email=request.form["email"]))
        mail.send(Message("Welcome", recipients=[subscriber.email], body="You will hear from us."))
        db.session.commit()  # subscriber and mail, or neither; was followed by send_async_email.delay(…)
        return "Thank you.", 201

    @app.cli.command("init-db")
    def init_db() -> None:
        """Make the tables: once, for two processes that start at the same time would get in each other's way."""
        db.create_all()

    return app


if __name__ == "examples.celery_mail_app":  # as Celery and Flask load it
    flask_app = create_app()
    celery_app = flask_app.extensions["celery"]
