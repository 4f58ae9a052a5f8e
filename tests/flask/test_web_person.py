"""The page for a person's request: looked up, exported, erased."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from outbox import Message, operations
from outbox.cli.erase import erase
from outbox.cli.export import export
from outbox.delivery.states import State
from outbox.message import keyring
from outbox.models import Base
from outbox.operations import Filter
from outbox.web import person
from tests.flask.test_web import change, states, text_of
from tests.servers.databases import Database
from tests.web.site import Site, site

ANN = "ann@example.org"


def last(database: Database) -> operations.audit.Entry:
    with database.engine.connect() as connection:
        return operations.audit.recent(connection, 1)[0]


def test_counted_exported_erased(client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
    """Counts change nothing; the address must be typed once more; the history has the digest alone."""
    found = text_of(change(client, "/person/look", address="ANN@example.org"))
    assert "What is stored of ANN@example.org" in found
    assert "Messages to the address: 1" in found
    response = change(client, "/person/export", address=ANN, note="ticket 4711")
    names = zipfile.ZipFile(io.BytesIO(response.data)).namelist()
    assert f"messages/{ids[ANN]}.eml" in names
    trail = last(seeded)
    assert (trail.action, trail.by, trail.note) == ("export", "ann@example.org", "ticket 4711")
    assert ANN not in trail.filters
    refused = change(client, "/person/erase", address=ANN, again="bob@example.net")
    assert (refused.status_code, states(seeded, ids[ANN])) == (400, [State.FAILED])
    erased = change(client, "/person/erase", address=ANN, again=ANN)
    assert erased.status_code == 303
    assert ANN not in erased.location
    assert "Erased:" in text_of(client.get(erased.location))
    assert states(seeded, ids[ANN]) == [State.CANCELLED]
    with seeded.engine.connect() as connection:
        assert operations.count(connection, Filter(recipient=ANN)) == 0
    assert "Nothing is stored of" in text_of(change(client, "/person/look", address="nobody@example.org"))
    wrong = change(client, "/person/look", address="nowhere")
    assert (wrong.status_code, "nowhere" in wrong.text) == (400, True)


def test_the_export_needs_the_right_to_read(pages: Site, client: FlaskClient) -> None:
    """It holds what the messages say; the button is not there, either."""
    pages.rights.read_bodies = False
    assert 'id="export"' not in change(client, "/person/look", address=ANN).text
    assert change(client, "/person/export", address=ANN).status_code == 403


def test_what_is_too_much_for_a_page(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so, and names the command; what an erasure has not reached it says, too."""
    monkeypatch.setattr(person, "MOST", 0)
    assert "run outbox-export" in text_of(change(client, "/person/export", address=ANN))
    monkeypatch.setattr(person, "SECONDS", 0.0)
    assert "There is too much to count" in text_of(change(client, "/person/look", address=ANN))
    erased = change(client, "/person/erase", address=ANN, again=ANN)
    assert "Not everything is erased yet" in text_of(client.get(erased.location))


@pytest.fixture
def sealing(sqlite_database: Database) -> Iterator[Site]:
    """The pages of an application that encrypts all mail."""
    keys = {
        "OUTBOX_ENCRYPTION_KEYS": keyring.new_key(),
        "OUTBOX_ADDRESS_KEY": "of the tests",
        "OUTBOX_ENCRYPTION": "all",
    }
    made = site(sqlite_database.url, MAIL_DEFAULT_SENDER="shop@example.org", **keys)
    yield made
    made.close()
    keyring.forget()


def test_sealed_mail_by_page_and_command(sealing: Site, sqlite_database: Database, tmp_path: Path) -> None:
    """Counted, exported in clear by both, erased by one; then the other finds nothing but the envelope."""
    app, client, run = sealing.app, sealing.app.test_client(), sealing.app.test_cli_runner()
    with app.app_context():
        app.extensions["outbox"].enqueue(Message("Reset", ["Ann@example.org"], "token-4711"), key=f"reset-{ANN}")
    with sqlite_database.engine.connect() as connection:
        stored = connection.execute(
            sa.text("SELECT recipient, subject, key FROM outbox_delivery, outbox_message")
        ).one()
    assert [value for value in stored if not value.startswith("sealed:")] == []

    assert "Messages to the address: 1" in text_of(change(client, "/person/look", address=ANN))
    zipped = zipfile.ZipFile(io.BytesIO(change(client, "/person/export", address=ANN).data))
    assert run.invoke(export, [ANN, "--to", str(tmp_path / "to")]).exit_code == 0
    for read in (zipped.read, lambda name: (tmp_path / "to" / name).read_bytes()):
        assert b"token-4711" in read("messages/1.eml")
        assert b"Reset" in read("deliveries.csv")
        assert f"reset-{ANN}".encode() in read("deliveries.csv")

    counted = run.invoke(erase, [ANN])
    assert "of these cancelled, because they were queued or had failed: 1" in counted.output
    erased = change(client, "/person/erase", address=ANN, again=ANN)
    assert "Erased: 1 message to the address" in text_of(client.get(erased.location))
    again = run.invoke(erase, [ANN, "--yes"])
    assert (again.exit_code, "Nothing is stored of this address" in again.output) == (0, True)
    with sqlite_database.engine.connect() as connection:  # as whoever has the keys reads it
        rows = [connection.execute(sa.select(table)).all() for table in Base.metadata.sorted_tables]
    assert not [words for words in ("token-4711", "Reset", ANN) if words.lower() in str(rows).lower()]
