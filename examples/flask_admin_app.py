"""Beside Flask-Admin: the outbox's pages in its menu, and mail from a model's view in the view's transaction.

    flask --app examples/flask_admin_app.py run
    flask --app examples/flask_admin_app.py outbox-sender

The log-in is left out here: `is_admin` is yours.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_admin.menu import MenuLink
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import outbox.schema
from outbox import Outbox, Settings
from outbox.web import blueprint

db = SQLAlchemy()
outbox.schema.follow(db.metadata)  # create_all() makes the outbox's tables as well
mail = Outbox()  # was: mail = Mail()


class Customer(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


class CustomerView(ModelView):  # type: ignore[misc]
    def on_model_change(self, form: Any, model: Customer, is_created: bool) -> None:
        """Before Flask-Admin's commit: a customer that can't be stored gets no mail."""
        if is_created:
            mail.send_message("Your account", recipients=[model.email], body="It is ready.")


def is_admin() -> bool:
    return True


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(),
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///flask_admin_app.sqlite"),
        MAIL_DEFAULT_SENDER="accounts@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    app.register_blueprint(blueprint(may_view=is_admin, may_act=is_admin), url_prefix="/admin/outbox")
    if find_spec("flask_babel"):  # then Flask-Admin asks it for the language
        from flask_babel import Babel

        Babel(app)
    admin = Admin(app, name="Shop")
    admin.add_view(CustomerView(Customer, db))
    admin.add_link(MenuLink(name="Mail", endpoint="outbox_admin.overview"))
    with app.app_context():
        db.create_all()
    return app
