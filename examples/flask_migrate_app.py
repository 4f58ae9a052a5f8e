"""Flask-Migrate: the tables come by a migration, and no later one drops them.

export FLASK_APP=examples/flask_migrate_app.py
flask db init
flask db migrate -m "Subscribers" && flask db upgrade
flask db revision -m "Add the outbox"    # in it: outbox.schema.upgrade(op, version=1), and downgrade(op, version=0)
flask db upgrade
flask run
flask outbox-sender
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import outbox.schema
from outbox import Outbox, Settings

db = SQLAlchemy()
migrate = Migrate(include_name=outbox.schema.include_name)  # was: migrate = Migrate()
mail = Outbox()  # was: mail = Mail()


class Subscriber(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///flask_migrate_app.sqlite"),
        MAIL_DEFAULT_SENDER="news@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    migrate.init_app(app, db)
    mail.init_app(app, session=db)  # was: mail.init_app(app)

    @app.post("/")
    def subscribe() -> str:
        db.session.add(subscriber := Subscriber(email=request.form["email"]))
        mail.send_message("Welcome", recipients=[subscriber.email], body="You are a subscriber now.")
        db.session.commit()  # both, or neither
        return "Welcome."

    return app
