"""APIFlask: a JSON API, in which an address that can't be one is the client's fault, with the field and the reason.

flask --app examples/apiflask_app.py run
flask --app examples/apiflask_app.py outbox-sender
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from apiflask import APIFlask, Schema
from apiflask.fields import String
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import outbox.schema
from outbox import AddressError, Outbox, Settings

db = SQLAlchemy()
outbox.schema.follow(db.metadata)  # create_all() makes the outbox's tables as well
mail = Outbox()  # was: mail = Mail()


class Invitation(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


class InvitationIn(Schema):
    email = String(required=True)


def create_app(config: Mapping[str, Any] | None = None) -> APIFlask:
    app = APIFlask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///apiflask_app.sqlite"),
        MAIL_DEFAULT_SENDER="team@example.org",
    )
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    db.init_app(app)
    mail.init_app(app, session=db)  # was: mail.init_app(app)
    with app.app_context():
        db.create_all()

    @app.errorhandler(AddressError)
    def no_address(error: AddressError) -> ResponseReturnValue:
        detail = {"json": {"email": [f"{error.problem}. {error.remedy}"]}}
        return {"message": "Validation error", "detail": detail}, 422

    @app.post("/invitations")
    @app.input(InvitationIn)
    @app.output(InvitationIn, status_code=201)
    def invite(json_data: dict[str, str]) -> Any:
        db.session.add(invitation := Invitation(**json_data))
        mail.send_message("You are invited", recipients=[invitation.email], body="Come and see.")
        db.session.commit()  # both, or neither
        return invitation

    return app
