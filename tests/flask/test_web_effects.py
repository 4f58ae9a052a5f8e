"""The page of what handlers and webhooks are still to do."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from outbox import operations
from outbox.models import OutboxEffect
from outbox.store.types import DbNow
from tests.flask.test_web import ROOT, change, text_of
from tests.servers.databases import Database

BOUNCE, HOOK = "shop.mails.note_bounce", "webhook https://hooks.example.org/<outbox>"


@pytest.fixture
def effects(seeded: Database) -> list[int]:
    """Two given up, one due; one of another environment."""
    rows = [
        {"name": BOUNCE, "due_at": None, "attempts": 10, "error": "RuntimeError: <b>gone</b>"},
        {"name": BOUNCE, "due_at": None, "attempts": 10, "error": "RuntimeError: again"},
        {"name": HOOK, "due_at": DbNow(), "attempts": 0, "error": None},
        {"name": "elsewhere", "due_at": None, "attempts": 3, "error": "x", "environment": "staging"},
    ]
    made = []
    with seeded.engine.begin() as connection:
        for number, row in enumerate(rows):
            values = {"environment": "", "type": "bounced", "effect_key": str(number), "created_at": DbNow(), **row}
            made.append(connection.execute(sa.insert(OutboxEffect).values(values)).inserted_primary_key[0])
    return made


def left(database: Database) -> list[tuple[str, bool, int]]:
    """Name, whether it is given up, attempts."""
    with database.engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxEffect).order_by(OutboxEffect.id)).all()
    return [(row.name, row.due_at is None, row.attempts) for row in rows]


def said(client: FlaskClient, **form: str) -> str:
    """The page that a change leads to."""
    response = change(client, "/effects/change", **form)
    assert response.status_code == 303
    return client.get(response.location).text


def test_what_is_listed(client: FlaskClient, effects: list[int]) -> None:
    """By name, what fails most first; the calls with their errors; nothing of another environment."""
    response = client.get(f"{ROOT}/effects")
    page = response.text
    assert page.index(BOUNCE) < page.index("webhook https://hooks.example.org/&lt;outbox&gt;")
    assert "RuntimeError: &lt;b&gt;gone&lt;/b&gt;" in page
    assert "given up" in text_of(response)
    assert "not known to this application" in page
    assert "elsewhere" not in page
    one = client.get(f"{ROOT}/effects", query_string={"name": BOUNCE}).text
    assert one.count('href="/admin/outbox/effects/question?what=drop&amp;id=') == 2


def test_nothing_is_left(client: FlaskClient) -> None:
    """It says so."""
    assert "have done all that they were to do" in client.get(f"{ROOT}/effects").text


def test_called_again_by_name(client: FlaskClient, effects: list[int], seeded: Database) -> None:
    """Asked first; then due, as if for the first time, and in the history."""
    asked = client.get(f"{ROOT}/effects/question", query_string={"what": "run", "name": BOUNCE})
    assert "2 calls" in text_of(asked)
    assert "2 calls are due now: a worker makes them." in said(client, what="run", name=BOUNCE, note="repaired")
    assert left(seeded)[:3] == [(BOUNCE, False, 0), (BOUNCE, False, 0), (HOOK, False, 0)]
    with seeded.engine.connect() as connection:
        entry = operations.audit.recent(connection, 1)[0]
    assert (entry.action, entry.count, entry.note) == ("run-effects", 2, "repaired")


def test_one_is_dropped(client: FlaskClient, effects: list[int], seeded: Database) -> None:
    """That one alone; a second time there is nothing to drop."""
    asked = {"what": "drop", "id": str(effects[0])}
    assert "RuntimeError: &lt;b&gt;gone" in client.get(f"{ROOT}/effects/question", query_string=asked).text
    assert "One call is dropped" in said(client, **asked)
    assert [name for name, _, _ in left(seeded)] == [BOUNCE, HOOK, "elsewhere"]
    assert "Nothing was changed" in said(client, **asked)
    assert "Nothing is left to do" in client.get(f"{ROOT}/effects/question", query_string=asked).text


def test_those_of_others_are_left_alone(client: FlaskClient, effects: list[int], seeded: Database) -> None:
    """Another environment's can't be named."""
    assert "Nothing was changed" in said(client, what="drop", id=str(effects[3]))
    assert "Nothing was changed" in said(client, what="drop", name="elsewhere")
    assert len(left(seeded)) == 4


@pytest.mark.parametrize(
    "asked",
    [{}, {"what": "run"}, {"what": "x", "name": BOUNCE}, {"what": "drop", "id": "x"}, {"what": "drop", "id": "²"}],
)
def test_bad_requests(client: FlaskClient, effects: list[int], seeded: Database, asked: dict[str, str]) -> None:
    """Nothing is changed without a name or number and a word that says what."""
    assert client.get(f"{ROOT}/effects/question", query_string=asked).status_code == 400
    assert len(left(seeded)) == 4
