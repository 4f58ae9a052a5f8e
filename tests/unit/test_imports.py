"""What a start costs: the modules that neither a web process nor a command needs are not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox.models import Base

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {
    "alembic",
    "apscheduler",
    "idna",
    "multiprocessing",
    "prometheus_client",
    "psycopg",
    "pymysql",
    "pydantic",
    "rich",
}
"""Each takes longer to import than a command takes to run, and has its place of use."""

WORKERS = {"outbox.smtp", "outbox.web", "outbox.worker"}
"""Rooms that a web process without pages has no use for."""

COMMAND = """
import flask, flask.cli, outbox
from outbox.cli import commands
def create_app():
    app = flask.Flask("app")
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL="{url}")
    outbox.Outbox(app)
    return app
cli = flask.cli.FlaskGroup(create_app=create_app)
cli._loaded_plugin_commands = True  # those of other packages are not what is looked at
for command in commands.ALL.values():
    cli.add_command(command)
assert cli.main(["outbox-status"], standalone_mode=False) == 0
"""

OTHER_COMMANDS = {f"outbox.cli.{name}" for name in ("change", "check", "erase", "lint", "list", "preview", "sender")}

FIRST_SEND = """
import flask, outbox, sqlalchemy, sys
from sqlalchemy.orm import Session
app = flask.Flask("app")
app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL="{url}")
engine = sqlalchemy.create_engine("{url}")
mail = outbox.Outbox(app, session=lambda: flask.g.session)
there = set(sys.modules)
with app.app_context(), Session(engine) as flask.g.session:
    mail.send(outbox.Message("Hello", recipients=["ann@example.org"], body="text", html="<p>text</p>"))
    flask.g.session.commit()
found = {name for name in sys.modules.keys() - there if name.startswith("outbox")}
assert not found, found
"""
"""Else each process that a server forks would import them again."""

FIRST_DELIVERY = """
import pathlib, sys, threading
from tests.flask.walk import Shop
from tests.wire.server import SmtpServer
found = set()
def imported(event, arguments):
    if event == "import" and threading.current_thread().name.startswith("outbox-"):
        found.add(arguments[0])
with SmtpServer() as server:
    shop = Shop(pathlib.Path("{url}".removeprefix("sqlite:///")).parent, MAIL_SERVER="127.0.0.1", MAIL_PORT=server.port)
    shop.get()
    sys.addaudithook(imported)
    shop.run("outbox-sender", "--once")
    assert len(server.messages) == 1
found = {name for name in found if name.startswith("outbox")}
assert not found, found
"""
"""Else a message waits for the disk under its lease: what a worker needs is there before it claims."""


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import outbox", HEAVY | WORKERS | {"outbox.operations"}),
        ("import outbox.cli.commands", HEAVY | WORKERS | OTHER_COMMANDS),
        (COMMAND, HEAVY | WORKERS | OTHER_COMMANDS),
        (FIRST_SEND, HEAVY | WORKERS | {"outbox.operations"}),
        (FIRST_DELIVERY, OTHER_COMMANDS - {"outbox.cli.sender"}),
    ],
    ids=["package", "commands", "status", "first send", "first delivery"],
)
def test_heavy_modules_are_imported_where_they_are_used(code: str, without: set[str], tmp_path: Path) -> None:
    """`import outbox`, a command on SQLite, a process's first mail in and out."""
    url = f"sqlite:///{tmp_path / 'outbox.sqlite'}"
    Base.metadata.create_all(sa.create_engine(url))
    code = code.replace("{url}", url)
    told = "import sys\n" + code + "\nprint('LOADED', *sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=environ, check=False)
    loaded = done.stdout.partition("LOADED ")[2].split()
    assert "outbox" in loaded, done.stderr
    assert done.returncode == 0, done.stderr
    assert without & set(loaded) == set()
