"""Send again, pause one message, ask a worker to end: by Flask's test client."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Filter
from tests.flask.test_web import ROOT, change, text_of
from tests.servers.databases import Database
from tests.web.site import Site


def test_send_again(client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
    """Asked first; then the page of the new message says what it is, and the old one names it."""
    old = ids["tanaka@example.jp"]
    assert f"/mail/{old}/again" in client.get(f"{ROOT}/mail/{old}?list=state%3Dsent").text
    asked = client.get(f"{ROOT}/mail/{old}/again")
    assert "gets the same content a second time" in text_of(asked)
    response = change(client, f"/mail/{old}/send-again", note="she deleted it")
    assert response.status_code == 303
    page = text_of(client.get(response.location))
    assert "This message is the new one, queued and due now." in page
    assert f"send-again by ann@example.org : she deleted it {old} →" in page
    assert "send-again by ann@example.org" in text_of(client.get(f"{ROOT}/mail/{old}"))
    with seeded.engine.connect() as connection:
        wanted = Filter(recipient="tanaka@example.jp")
        assert [row.state for row in operations.find(connection, wanted)] == [State.QUEUED, State.SENT]


def test_what_cannot_be_sent_again(pages: Site, client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
    """A message that was not sent has no such button; who may not act neither."""
    failed = ids["ann@example.org"]
    assert "again" not in client.get(f"{ROOT}/mail/{failed}").text.split('id="h-attempts"')[0].replace(
        "retried again", ""
    )
    assert "Only a message that was sent" in text_of(client.get(f"{ROOT}/mail/{failed}/again"))
    assert change(client, f"/mail/{failed}/send-again").status_code == 400
    assert client.get(f"{ROOT}/mail/999999/again").status_code == 404
    pages.rights.act = False
    assert "/again" not in client.get(f"{ROOT}/mail/{ids['tanaka@example.jp']}").text


def test_pause_and_resume_one_message(client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
    """On its own page; the page of pauses leads to it."""
    id = ids["dora@example.com"]
    assert "Pause this message" in client.get(f"{ROOT}/mail/{id}").text
    form = {"what": "message", "value": str(id), "every": "1", "of": "*", "origin": str(id)}
    response = change(client, "/pause", **form)
    assert response.location == f"{ROOT}/mail/{id}"
    words = text_of(client.get(response.location))
    assert "This message is paused until somebody resumes it." in words
    assert "It is not sent until this pause ends: this message, by ann@example.org" in words
    assert "Resume this message" in words
    assert f'/mail/{id}?environment=*"' in client.get(f"{ROOT}/pauses").text.replace("%2A", "*")
    assert "It is not sent" not in text_of(client.get(f"{ROOT}/mail/{ids['long@example.com']}"))
    response = change(client, "/resume", **form)
    words = text_of(client.get(response.location))
    assert "Resumed this message: it is sent when it is due." in words
    assert "Pause this message" in words
    assert "Pause this message" not in client.get(f"{ROOT}/mail/{ids['ann@example.org']}").text


def test_workers_are_asked_to_end(pages: Site, client: FlaskClient) -> None:
    """Listed, asked about first, then asked to end; what may not be done is not offered."""
    page = client.get(f"{ROOT}/workers")
    assert "/workers/1/question?what=stop" in page.text
    words = text_of(client.get(f"{ROOT}/workers/1/question?what=stop"))
    assert "No other worker is alive" in words
    response = change(client, "/workers/1/end", what="drain", note="new host")
    words = text_of(client.get(response.location))
    assert (
        "Asked worker mail-1:4711 to drain. It ends when it finds nothing due any more. No other worker is alive"
        in words
    )
    assert "draining" in words
    assert "drain-worker" in text_of(client.get(f"{ROOT}/history"))
    response = change(client, "/workers/99/end", what="stop")
    assert "had already ended" in text_of(client.get(response.location))
    assert client.get(f"{ROOT}/workers/99/question?what=stop").status_code == 404
    assert client.get(f"{ROOT}/workers/1/question?what=kill").status_code == 400
    pages.rights.act = False
    assert "question" not in client.get(f"{ROOT}/workers").text


@pytest.mark.parametrize("value", ["x", "0", "-1", ""])
def test_no_such_message(client: FlaskClient, value: str) -> None:
    """A pause of what is no number is refused."""
    assert change(client, "/pause", what="message", value=value).status_code == 400
