"""The application of the stories with a table of customers, and a hook that misbehaves as a message's kind says."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import scoped_session, sessionmaker

from outbox import Cancel, Hold, Outbox, Outgoing
from outbox.settings import Settings

CUSTOMERS = sa.Table(
    "shop_customer",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(64)),
    sa.Column("active", sa.Boolean),
    sa.Column("since", sa.DateTime),
    mysql_engine="InnoDB",
)


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """An application on DATABASE_URL."""
    environ = os.environ if environ is None else environ
    app = Flask(__name__)
    app.config.update(Settings.from_env(environ))
    engine = sa.create_engine(environ["DATABASE_URL"], pool_pre_ping=True)
    mail = Outbox()
    mail.before_send(kind=("hang", "raise", "hold", "cancel"))(ask)
    app.config["OUTBOX_DATABASE_URL"] = environ["DATABASE_URL"]
    mail.init_app(app, session=scoped_session(sessionmaker(engine)))
    return app


def ask(outgoing: Outgoing) -> Hold | Cancel | None:
    """As the kind says."""
    if outgoing.kind == "hang":
        threading.Event().wait()
    if outgoing.kind == "raise":
        raise RuntimeError("as asked for")
    return Hold("not now", 3600) if outgoing.kind == "hold" else Cancel(f"never, {outgoing.key}")
