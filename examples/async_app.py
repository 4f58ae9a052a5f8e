"""Async views: Flask runs each in its request's context, so the session is that of any other view.

    flask --app examples/async_app.py run
    flask --app examples/async_app.py outbox-sender

Needs `pip install 'flask[async]'`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import outbox.schema
from outbox import Outbox, Settings

db = SQLAlchemy()
outbox.schema.follow(db.metadata)  # create_all() makes the outbox's tables as well
mail = Outbox()  # was: mail = Mail()


class Ticket(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    priority: Mapped[str]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///async_app.sqlite"),
        MAIL_DEFAULT_SENDER="help@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    with app.app_context():
        db.create_all()

    @app.post("/")
    async def ticket() -> str:
        email = request.form["email"]
        priority = await rated(request.form["text"])
        db.session.add(Ticket(email=email, priority=priority))
        mail.send_message("We have your question", recipients=[email], body=f"It is {priority}.")
        db.session.commit()  # both, or neither
        return "Thank you."

    return app


async def rated(text: str) -> str:
    """Stands for a call to another service."""
    await asyncio.sleep(0)
    return "urgent" if "down" in text else "normal"
