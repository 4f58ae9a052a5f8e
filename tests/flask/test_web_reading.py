"""Reading what a message says: one attachment alone, and the note of who read, by Flask's test client."""

from __future__ import annotations

import contextlib
import sqlite3
from html import unescape

import pytest
from flask.testing import FlaskClient

from outbox import operations
from outbox.delivery.states import State
from outbox.operations.audit import Entry, recent
from tests.flask.test_web import ROOT, text_of
from tests.servers.databases import Database
from tests.web.seed import PNG, Mail, write
from tests.web.site import Site

PAGE = b"<script>alert(1)</script>"


@pytest.fixture
def attached(seeded: Database) -> int:
    """A mail with attachments of every sort of name and type."""
    attachments = [
        ("Rechnung für Ann.pdf", "application/pdf", b"%PDF-1.7 x"),
        ("page.html", "text/html", PAGE),
        ("../../etc/cron.d/x\u202egpj.exe", "image/svg+xml", PAGE),
        ("", "image/png", PNG),
    ]
    with seeded.engine.begin() as connection:
        return write(connection, Mail({"x@read.example": State.FAILED}, attachments=attachments))[0]


def noted(database: Database) -> list[Entry]:
    with database.engine.connect() as connection:
        return [entry for entry in reversed(recent(connection)) if entry.action == operations.READ]


@pytest.mark.parametrize(
    ("number", "kind", "name", "content"),
    [
        (1, "application/pdf", "filename*=UTF-8''Rechnung%20f%C3%BCr%20Ann.pdf", b"%PDF-1.7 x"),
        (2, "application/octet-stream", "filename=page.html", PAGE),
        (3, "application/octet-stream", "_etc_cron.d_x_gpj.exe", PAGE),
        (4, "image/png", "filename=attachment-4", PNG),
    ],
)
def test_one_attachment(client: FlaskClient, attached: int, number: int, kind: str, name: str, content: bytes) -> None:
    """A file with its name and content, which no browser takes for a page of this site."""
    page = client.get(f"{ROOT}/mail/{attached}").text
    assert f'href="{ROOT}/mail/{attached}/attachments/{number}"' in page
    response = client.get(f"{ROOT}/mail/{attached}/attachments/{number}")
    assert response.status_code == 200
    assert response.data == content
    assert response.mimetype == kind
    assert response.headers["Content-Disposition"].startswith("attachment; ")
    assert name in response.headers["Content-Disposition"]
    assert "/" not in response.headers["Content-Disposition"].replace("UTF-8", "")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("number", [0, 5, 10**30])
def test_no_such_attachment(client: FlaskClient, seeded: Database, attached: int, number: int) -> None:
    """A number that no attachment has is a 404, and nobody has seen anything."""
    assert client.get(f"{ROOT}/mail/{attached}/attachments/{number}").status_code == 404
    assert noted(seeded) == []


def test_an_attachment_of_redacted_mail(client: FlaskClient, seeded: Database) -> None:
    """It is gone with the rest."""
    with seeded.engine.begin() as connection:
        mail = Mail({"x@read.example": State.SENT}, attachments=[("a.pdf", "application/pdf", b"x")], redacted=True)
        [id] = write(connection, mail)
    assert client.get(f"{ROOT}/mail/{id}/attachments/1").status_code == 404
    assert client.get(f"{ROOT}/mail/{id}").status_code == 200
    assert noted(seeded) == []


def test_who_read_is_noted(client: FlaskClient, seeded: Database, attached: int) -> None:
    """One row for the body, however it is shown and however often, one for the download, one for each attachment."""
    for path in ("", "", "/html", "/source", "/message.eml", "/attachments/2", "/attachments/2", "/attachments/1"):
        client.get(f"{ROOT}/mail/{attached}{path}")
    assert [(entry.by, entry.filters, entry.delivery_ids) for entry in noted(seeded)] == [
        ("ann@example.org", what, (attached,)) for what in ("body", "download", "attachment 2", "attachment 1")
    ]
    words = text_of(client.get(f"{ROOT}/mail/{attached}"))
    assert "read by ann@example.org attachment 2" in words
    assert "read" not in client.get(f"{ROOT}/history").text.partition("<tbody")[2]
    assert text_of(client.get(f"{ROOT}/history?reads=1")).count("ann@example.org read") == 4


def test_who_only_looks_reads_nothing(pages: Site, client: FlaskClient, seeded: Database, attached: int) -> None:
    """The page without the body leaves no note."""
    pages.rights.read_bodies = False
    assert client.get(f"{ROOT}/mail/{attached}").status_code == 200
    assert noted(seeded) == []


def test_what_cannot_be_noted_is_not_shown(client: FlaskClient, seeded: Database, attached: int) -> None:
    """On a database that takes no writes the page comes without the body and says why; the rest of it is there."""
    assert seeded.path is not None
    with contextlib.closing(sqlite3.connect(seeded.path)) as raw, raw:
        raw.execute(
            "CREATE TRIGGER full BEFORE INSERT ON outbox_audit BEGIN SELECT RAISE(ABORT, 'database is full'); END"
        )
    page = client.get(f"{ROOT}/mail/{attached}")
    assert page.status_code == 200
    assert "x@read.example" in page.text
    assert "your order is on its way" not in page.text
    assert "The history can't be written" in unescape(page.text)
    for path in ("/html", "/source", "/message.eml", "/attachments/1"):
        answer = client.get(f"{ROOT}/mail/{attached}{path}")
        assert answer.status_code in {404, 503}, path
        assert b"your order" not in answer.data
        assert b"%PDF" not in answer.data
