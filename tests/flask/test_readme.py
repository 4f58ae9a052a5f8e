"""README.md: what it shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask, redirect, request
from flask_sqlalchemy import SQLAlchemy

from outbox import models
from outbox.testing import Mailbox
from tests.servers.databases import Database

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_ten_lines_work(sqlite_database: Database) -> None:
    """The code for one's own application enqueues a mail together with the user it is for, and its test passes."""
    app = Flask("readme")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=sqlite_database.url,
        MAIL_DEFAULT_SENDER="shop@example.com",
        TESTING=True,
        SECRET_KEY="x",
    )
    db = SQLAlchemy(app)

    class User(db.Model):  # type: ignore[name-defined, misc]
        id = sa.Column(sa.Integer, primary_key=True)
        email = sa.Column(sa.String(100))

    with app.app_context():
        User.__table__.create(db.engine)
    code, test = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {"app": app, "db": db, "User": User, "request": request, "redirect": redirect})
    assert app.test_client().post("/register", data={"email": "ada@example.com"}).status_code == 302
    with app.app_context():
        assert db.session.scalars(sa.select(User.email)).all() == ["ada@example.com"]
        assert db.session.scalars(sa.select(models.OutboxDelivery.recipient)).all() == ["ada@example.com"]
    tests: dict[str, Any] = {}
    exec(test, tests)
    mailbox = Mailbox(app)
    mailbox.clear()
    tests["test_a_registration"](app.test_client(), mailbox)
    mailbox.thaw()
    with app.app_context():
        db.engine.dispose()


def test_the_settings_exist_with_these_defaults() -> None:
    """Each OUTBOX_* of the table is one of the package's; the numbers are its defaults."""
    documented = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `(OUTBOX_[A-Z_]+)` \| [^|]* \| ([^|]+) \|", README, re.MULTILINE)
    assert len(rows) >= 6
    for name, default in rows:
        told = re.search(rf"^\| `{name}` \| [^|]* \| ([^|]+) \|", documented, re.MULTILINE)
        assert told, name
        if default.strip().isdigit():
            assert told[1].strip().replace(",", "") == default.strip(), name


def test_the_links_lead_somewhere() -> None:
    """Files that the README names are there, the picture of the administrator's page among them."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert "docs/images/admin.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []
