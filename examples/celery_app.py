"""Celery tasks: mail is written in the task's own transaction, and the outbox's worker sends it.

    flask --app examples.celery_app init-db
    flask --app examples.celery_app run
    celery -A examples.celery_worker worker
    flask --app examples.celery_app outbox-sender

BROKER_URL names the broker: redis://localhost, or amqp://guest:guest@localhost for RabbitMQ.
A task that is run again, since its worker was killed, sends once: the key says what the message is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from celery import Celery, Task, shared_task
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import outbox.schema
from outbox import Message, Outbox, Settings

db = SQLAlchemy()
outbox.schema.follow(db.metadata)  # create_all() makes the outbox's tables as well
mail = Outbox()  # was: mail = Mail()


class Report(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    text: Mapped[str]


@shared_task(name="report", ignore_result=True)
def report(number: int, email: str) -> None:
    db.session.merge(made := Report(id=number, email=email, text="All is well."))
    mail.enqueue(Message(f"Report {number}", recipients=[email], body=made.text), key=f"report-{number}")
    db.session.commit()  # the report and its mail, or neither


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///celery_app.sqlite"),
        MAIL_DEFAULT_SENDER="reports@example.org",
        CELERY={"broker_url": os.environ.get("BROKER_URL", "redis://localhost")},
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    app.extensions["celery"] = make_celery(app)

    @app.post("/reports/<int:number>/<email>")
    def order(number: int, email: str) -> tuple[str, int]:
        report.delay(number, email)
        return "It will come by mail.", 202

    @app.cli.command("init-db")
    def init_db() -> None:
        """Make the tables: once, for two processes that start at the same time would get in each other's way."""
        db.create_all()

    return app


def make_celery(app: Flask) -> Celery:
    """As Flask's documentation has it: each task runs in an application context."""

    class FlaskTask(Task):  # type: ignore[misc, type-arg]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    made = Celery(app.name, task_cls=FlaskTask)
    made.config_from_object(app.config["CELERY"])
    made.set_default()
    return made
