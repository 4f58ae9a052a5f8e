"""Flask-Security-Too: registration, confirmation and password reset, their mails through the outbox.

    flask --app examples/flask_security_app.py run
    flask --app examples/flask_security_app.py outbox-sender

Flask-Security sends by `current_app.extensions["mail"]`, which is the outbox once `Outbox.init_app` was called. After
some mails (a password reset, for one) it commits nothing, since a mail used to leave at once. The default of
OUTBOX_UNCOMMITTED commits these at the end of the request; what it writes besides mail, it commits itself.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, auth_required, current_user
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

from outbox import Outbox, Settings
from outbox.models import Base as OutboxBase

db = SQLAlchemy()
fsqla_v3.FsModels.set_db_info(db)
mail = Outbox()  # was: mail = Mail()


class Role(db.Model, fsqla_v3.FsRoleMixin):  # type: ignore[name-defined, misc]
    pass


class User(db.Model, fsqla_v3.FsUserMixin):  # type: ignore[name-defined, misc]
    pass


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(),
        SECURITY_PASSWORD_SALT=os.environ.get("SECURITY_PASSWORD_SALT") or secrets.token_urlsafe(),
        SECURITY_PASSWORD_HASH="pbkdf2_sha512",  # needs nothing installed; the default, argon2, needs argon2-cffi
        SECURITY_REGISTERABLE=True,
        SECURITY_CONFIRMABLE=True,
        SECURITY_RECOVERABLE=True,
        SECURITY_CHANGEABLE=True,
        SECURITY_EMAIL_SENDER="accounts@example.org",
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///flask_security_app.sqlite"),
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    Security(app, SQLAlchemyUserDatastore(db, User, Role))
    with app.app_context():
        db.create_all()
        OutboxBase.metadata.create_all(db.engine)

    @app.get("/")
    @auth_required()
    def home() -> str:
        return f"Hello {current_user.email}."

    return app
