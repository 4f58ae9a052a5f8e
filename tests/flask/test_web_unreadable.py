"""The pages where a row has a date that is none: edited by hand, or restored badly."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.flask.test_web import ROOT, text_of
from tests.servers.databases import Database

DATES = [("outbox_message", "created_at"), ("outbox_delivery", "updated_at"), ("outbox_delivery", "due_at")]


@pytest.mark.parametrize(("table", "column"), DATES)
def test_all_pages_are_shown(
    client: FlaskClient, seeded: Database, ids: dict[str, int], table: str, column: str
) -> None:
    """Lists hold that row and all behind it, and its own page says what of that it can't read."""
    with seeded.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = 'long ago' WHERE {column} IS NOT NULL")
    for path in ("/", "/mail", "/mail?state=queued", "/failures"):
        assert client.get(ROOT + path).status_code == 200, path
    assert "dora@example.com" in client.get(f"{ROOT}/mail?state=queued").text
    page = client.get(f"{ROOT}/mail/{ids['dora@example.com']}")
    assert page.status_code == 200
    assert ("unreadable" in text_of(page)) is (column != "updated_at")
