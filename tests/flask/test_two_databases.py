"""The session on one database, OUTBOX_DATABASE_URL on another: said wherever somebody looks, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import flask
import flask_sqlalchemy
import flask_sqlalchemy_lite
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup
from sqlalchemy.orm import Session

from outbox import ConfigurationError, Message, Outbox
from tests.servers import forked
from tests.servers.databases import Database, Databases
from tests.servers.pgbouncer import PgBouncer

ROOT = Path(__file__).parents[2]
APP = """
import os
import flask
import sqlalchemy as sa
from sqlalchemy.orm import Session
from outbox import Outbox, Settings

def create_app():
    app = flask.Flask("shop")
    app.config.update(Settings.from_env(os.environ), SECRET_KEY="x")
    session = Session(sa.create_engine(os.environ["SESSION_URL"]))
    Outbox().init_app(app, session=lambda: session)
    return app
"""
COMMANDS = {"outbox-check": 1, "outbox-status": 1, "outbox-sender --once": 2}


def test_enqueue_refuses(sqlite_database: Database, databases: Databases) -> None:
    """Before anything is written; both are named."""
    with databases.with_schema("sqlite") as other, Session(other.engine) as session:
        app = Flask("shop")
        app.config["OUTBOX_DATABASE_URL"] = sqlite_database.url
        outbox = Outbox()
        with app.app_context():
            outbox.init_app(app, session=lambda: session)
            for _ in range(2):
                with pytest.raises(ConfigurationError) as raised:
                    outbox.send(Message("Hello", recipients=["a@example.org"], sender="a@example.org", body="x"))
                assert str(other.path) in str(raised.value)
                assert str(sqlite_database.path) in str(raised.value)


@pytest.mark.databases("sqlite", "postgresql")
def test_worker_and_commands_say_so(database: Database, databases: Databases, tmp_path: Path) -> None:
    """The worker does not start, the check is not ready, the status is degraded; no password is shown."""
    with databases.with_schema(database.name) as other:
        for words, code in COMMANDS.items():
            done = run(tmp_path, words, OUTBOX_DATABASE_URL=database.url, SESSION_URL=other.url)
            said = done.stdout + done.stderr
            assert done.returncode == code, said
            assert str(other.address.database) in said
            assert "session writes to" in said
            assert not other.address.password or other.address.password not in said


@pytest.mark.databases("postgresql")
def test_two_addresses_of_one_database_are_fine(database: Database, pooler: PgBouncer, tmp_path: Path) -> None:
    """The application through a pooler, the worker straight to the server."""
    url = pooler.address.render_as_string(hide_password=False)
    done = run(tmp_path, "outbox-sender --once", OUTBOX_DATABASE_URL=database.url, SESSION_URL=url)
    assert done.returncode == 0, done.stderr
    assert "session writes" not in done.stderr


def test_a_session_that_is_there_only_in_requests_stops_no_worker(sqlite_database: Database, tmp_path: Path) -> None:
    """Outside of one it can't be asked, and need not be."""
    app = APP.replace("lambda: session", "lambda: flask.g.session")
    done = run(tmp_path, "outbox-sender --once", app, OUTBOX_DATABASE_URL=sqlite_database.url, SESSION_URL="sqlite://")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["flask-sqlalchemy", "flask-sqlalchemy-lite", "binds", "twophase", "one", "g"])
def test_check_tells_of_rows_in_another_database(kind: str, sqlite_database: Database, databases: Databases) -> None:
    """Which a session commits by themselves, so that promise 1 does not hold for them."""
    app = Flask("shop")
    with databases.empty("sqlite") as other:
        app.config.update(
            SQLALCHEMY_DATABASE_URI=sqlite_database.url,
            SQLALCHEMY_BINDS={"log": other.url},
            SQLALCHEMY_ENGINES={"default": sqlite_database.url, "log": other.url},
            MAIL_PORT=1,
            MAIL_DEFAULT_SENDER="a@example.org",
        )
        here, there = sqlite_database.engine, other.engine
        if kind == "flask-sqlalchemy":
            source: Any = flask_sqlalchemy.SQLAlchemy(app)
        elif kind == "flask-sqlalchemy-lite":
            source = flask_sqlalchemy_lite.SQLAlchemy(app)
        elif kind == "g":
            source = lambda: flask.g.session  # noqa: E731 - as an application has it
            app.config["OUTBOX_DATABASE_URL"] = sqlite_database.url
        else:
            binds = {
                sa.Table("note", sa.MetaData(), sa.Column("text", sa.String(10))): here if kind == "one" else there
            }
            source = Session(here, binds=binds, twophase=kind == "twophase")
        Outbox(app, session=source)
        said = CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["outbox-check", "--json"]).output
        assert '"migrations"' in said
        assert ("one after the other" in said) is (kind in {"flask-sqlalchemy", "flask-sqlalchemy-lite", "binds"})
        assert (str(other.path) in said) is ("one after the other" in said)
        if kind.startswith("flask"):
            with app.app_context():
                for engine in source.engines.values():
                    engine.dispose()


def run(folder: Path, words: str, app: str = APP, **settings: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop.py").write_text(app)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OUTBOX_", "MAIL_", "FLASK_"))}
    path = os.pathsep.join((str(folder), str(ROOT)))
    environ = {**plain, "PYTHONPATH": path, "MAIL_DEFAULT_SENDER": "a@example.org", **settings}
    return forked.run(["flask", "--app", "shop:create_app", *words.split()], cwd=folder, env=environ, timeout=60)
