"""An application that connects as its URL alone does not: worker, commands, pages and probes connect as it does."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo
from sqlalchemy import event
from sqlalchemy.orm import Session

import outbox.web
from outbox import Message, Outbox
from outbox.cli import commands
from outbox.web import health_blueprint
from tests.servers.databases import Database
from tests.wire.server import SmtpServer


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("named", [False, True], ids=["session alone", "named again"])
def test_all_of_them_connect_as_the_application_does(database: Database, named: bool) -> None:
    """A listener adds the password, as with log-in tokens of a cloud provider; the URL has none.

    Nor does it matter that OUTBOX_DATABASE_URL names the session's database once more.
    """
    engine = sa.create_engine(database.address._replace(password=None))

    @event.listens_for(engine, "do_connect")
    def with_token(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:
        options["password"] = database.address.password

    with SmtpServer() as server, Session(engine) as session:
        app = Flask("shop")
        app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=server.port, MAIL_DEFAULT_SENDER="shop@example.org")
        if named:
            app.config["OUTBOX_DATABASE_URL"] = engine.url.render_as_string()
        mail = Outbox(app, session=lambda: session)
        app.register_blueprint(outbox.web.blueprint(may_view=lambda: True), url_prefix="/outbox")
        app.register_blueprint(health_blueprint(may_view=lambda: True))
        client = app.test_client()
        with app.app_context():
            mail.send(Message("Hello", recipients=["ann@example.org"], body="x"))
            session.commit()
        assert "ann@example.org" in run(app, "outbox-list")
        run(app, "outbox-check")
        run(app, "outbox-sender", "--once")
        assert [one.rcpt for one in server.messages] == ["ann@example.org"]
        run(app, "outbox-status")
        run(app, "outbox-purge", "--older-than", "1d")
        assert "ann@example.org" in client.get("/outbox/mail").text
        assert client.get("/readyz").text == "ok\n"
        assert "outbox_database_up 1.0" in client.get("/metrics").text
        mail.database(app).dispose()
    engine.dispose()


def run(app: Flask, name: str, *words: str) -> str:
    """What a command prints; it must end in 0."""
    command = commands.ALL[name]
    done = CliRunner().invoke(command, list(words), obj=ScriptInfo(create_app=lambda: app))
    assert done.exit_code == 0, done.output
    return done.output
