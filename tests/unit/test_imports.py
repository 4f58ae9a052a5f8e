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


@pytest.mark.parametrize(
    ("code", "without"), [("import outbox", HEAVY | WORKERS), ("import outbox.cli.commands", HEAVY), (COMMAND, HEAVY)]
)
def test_heavy_modules_are_imported_where_they_are_used(code: str, without: set[str], tmp_path: Path) -> None:
    """`import outbox` and a command on SQLite."""
    url = f"sqlite:///{tmp_path / 'outbox.sqlite'}"
    Base.metadata.create_all(sa.create_engine(url))
    code = code.replace("{url}", url)
    told = "import sys\n" + code + "\nprint('LOADED', *sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=environ, check=False)
    loaded = done.stdout.partition("LOADED ")[2].split()
    assert "outbox" in loaded, done.stderr
    assert without & set(loaded) == set()
