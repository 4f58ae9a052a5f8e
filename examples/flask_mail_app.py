"""An application written for Flask-Mail. The lines marked "was" and "new" show the differences.

    flask --app examples/flask_mail_app.py run
    flask --app examples/flask_mail_app.py outbox-sender

It has no SQLAlchemy, so each mail is written in a short transaction of its own, on OUTBOX_DATABASE_URL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from flask_mail import Message

from outbox import Outbox, Settings  # was: from flask_mail import Mail
from outbox.models import Base  # new: the tables

mail = Outbox()  # was: mail = Mail()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        MAIL_DEFAULT_SENDER=("The shop", "shop@example.org"),
        OUTBOX_DATABASE_URL=os.environ.get("DATABASE_URL", "sqlite:///flask_mail_app.sqlite"),  # new
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    mail.init_app(app)
    Base.metadata.create_all(mail.database(app))  # new

    @app.get("/")
    def form() -> str:
        return '<form method="post"><input name="email" type="email"><button>Send me the catalogue</button></form>'

    @app.post("/")
    def catalogue() -> str:
        message = Message("Our catalogue", recipients=[request.form["email"]])
        message.body = "Here it is."
        message.attach("catalogue.txt", "text/plain", "1 teapot")
        mail.send(message)
        return "It is on its way."

    return app
