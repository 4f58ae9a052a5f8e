"""An application factory with Flask-Login: registering sends a link, the administrators' pages are behind the log-in.

flask --app examples/factory_login_app.py outbox-create-tables
flask --app examples/factory_login_app.py run
flask --app examples/factory_login_app.py outbox-sender
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, abort, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_sqlalchemy import SQLAlchemy
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.orm import Mapped, mapped_column

from outbox import Outbox, Settings
from outbox.web import blueprint

db = SQLAlchemy()
login_manager = LoginManager()
mail = Outbox()  # was: mail = Mail()


class User(UserMixin, db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    is_admin: Mapped[bool] = mapped_column(default=False)


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id))


def is_admin() -> bool:
    if not current_user.is_authenticated:
        abort(login_manager.unauthorized())
    return bool(current_user.is_admin)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(),
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///factory_login_app.sqlite"),
        MAIL_DEFAULT_SENDER="accounts@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    login_manager.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    app.register_blueprint(blueprint(may_view=is_admin, may_act=is_admin), url_prefix="/admin/outbox")
    with app.app_context():
        db.create_all()

    @app.post("/register")
    def register() -> ResponseReturnValue:
        db.session.add(user := User(email=request.form["email"]))
        link = url_for("confirm", token=tokens(app).dumps(user.email), _external=True)
        mail.send_message("Your account", recipients=[user.email], body=f"Log in by {link}\n")
        db.session.commit()  # the account and its mail, or neither
        return "Check your mail."

    @app.get("/confirm/<token>")
    def confirm(token: str) -> ResponseReturnValue:
        try:
            email = tokens(app).loads(token, max_age=3600)
        except BadSignature:
            abort(403)
        login_user(db.session.scalars(db.select(User).filter_by(email=email)).one())
        return f"Hello {email}."

    return app


def tokens(app: Flask) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(app.config["SECRET_KEY"], salt="confirm")
