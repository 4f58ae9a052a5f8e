"""OUTBOX_READ_URL: what only looks reads a copy, what changes something goes to the database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup

from outbox import Message, Outbox
from outbox.models import Base
from outbox.web import blueprint
from tests.servers.databases import Database


def test_looking_reads_the_copy_and_changes_go_to_the_database(sqlite_database: Database, tmp_path: Path) -> None:
    """A copy without the newest message stands for a replica that is behind."""
    copy = tmp_path / "replica.sqlite"
    Base.metadata.create_all(sqlite_database.engine)
    app = Flask(__name__)
    app.config.update(
        MAIL_DEFAULT_SENDER="shop@example.org",
        OUTBOX_DATABASE_URL=sqlite_database.url,
        OUTBOX_READ_URL=f"sqlite:///{copy}",
        SECRET_KEY="x",
    )
    mail = Outbox(app)
    app.register_blueprint(blueprint(may_view=lambda: True, may_act=lambda: True), url_prefix="/outbox")
    with app.app_context():
        mail.send(Message("Seen", ["a@example.org"], "x"))
    with sqlite3.connect(str(sqlite_database.path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    shutil.copy(str(sqlite_database.path), copy)
    with app.app_context():
        mail.send(Message("New", ["b@example.org"], "x"))

    def run(*words: str) -> Any:
        return CliRunner().invoke(FlaskGroup(create_app=lambda: app), words)

    def queued() -> int:
        return int(json.loads(run("outbox-status", "--json").stdout)["states"]["queued"])

    listed = run("outbox-list", "--json").stdout
    assert ("Seen" in listed, "New" in listed) == (True, False)
    assert queued() == 1
    page = app.test_client().get("/outbox/mail").get_data(as_text=True)
    assert ("Seen" in page, "New" in page) == (True, False)

    cancelled = run("outbox-cancel", "--state", "queued", "--yes")
    assert cancelled.exit_code == 0, cancelled.output
    assert queued() == 1
    with sqlite3.connect(str(sqlite_database.path)) as raw:
        assert raw.execute("SELECT count(*) FROM outbox_delivery WHERE state = 'cancelled'").fetchone() == (2,)
    raw.close()
