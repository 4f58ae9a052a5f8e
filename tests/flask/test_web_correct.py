"""Correcting the recipient on the page of one mail, by Flask's test client."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from outbox import operations
from outbox.delivery.states import State
from tests.flask.test_web import ROOT, change, question, states, text_of, token
from tests.servers.databases import Database
from tests.web.seed import SCRIPT, Mail, write
from tests.web.site import Site, site


def test_correct_and_requeue(client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
    """The new address stands in envelope and header, the mail is queued, and the page says who did it."""
    id = ids["ann@example.org"]
    response = change(client, f"/mail/{id}/recipient", recipient="Ann.B@Example.net", note="she moved")
    assert (response.status_code, response.location) == (303, f"{ROOT}/mail/{id}")
    words = text_of(client.get(response.location))
    assert "This message is addressed to Ann.B@example.net, queued again and due now." in words
    assert "edit-recipient by ann@example.org : she moved ann@example.org → Ann.B@example.net" in words
    with seeded.engine.connect() as connection:
        detail = operations.show(connection, id)
        assert detail is not None
        assert (detail.recipient, detail.state) == ("Ann.B@example.net", State.QUEUED)
        assert b"\r\nTo: Ann.B@Example.net\r\n" in operations.wire(connection, detail.message_id)


@pytest.mark.parametrize("recipient", ["ann@example.org", "long@example.com", "bob@example.com"])
def test_where_it_is_offered(client: FlaskClient, ids: dict[str, int], recipient: str) -> None:
    """What failed, waits or was cancelled can be corrected."""
    assert "Correct and requeue" in client.get(f"{ROOT}/mail/{ids[recipient]}").text


@pytest.mark.parametrize("recipient", ["carol@example.com", "tanaka@example.jp", "invoice@example.com"])
def test_where_it_is_not(client: FlaskClient, ids: dict[str, int], seeded: Database, recipient: str) -> None:
    """What is being sent, was sent or may have been is not offered, and refused all the same."""
    id = ids[recipient]
    assert "Correct and requeue" not in client.get(f"{ROOT}/mail/{id}").text
    before = states(seeded, id)
    assert change(client, f"/mail/{id}/recipient", recipient="x@example.org").status_code == 400
    assert states(seeded, id) == before


@pytest.mark.parametrize("address", ["", "nobody", "ann@example.org", SCRIPT, "a@b.example, c@d.example"])
def test_bad_addresses(client: FlaskClient, ids: dict[str, int], seeded: Database, address: str) -> None:
    """What is no address, or the same, is refused with 400 and told as text."""
    id = ids["ann@example.org"]
    response = change(client, f"/mail/{id}/recipient", recipient=address)
    assert response.status_code == 400
    assert SCRIPT not in response.text
    assert states(seeded, id) == [State.FAILED]


@pytest.mark.parametrize("lacking", ["act", "read_bodies"])
def test_it_takes_reading_and_acting(
    pages: Site, client: FlaskClient, ids: dict[str, int], seeded: Database, lacking: str
) -> None:
    """Who may only look, only act or only read is not offered the form, and refused: it shows the mail elsewhere."""
    valid = token(client)
    setattr(pages.rights, lacking, False)
    id = ids["long@example.com"]
    assert "Correct the recipient" not in client.get(f"{ROOT}/mail/{id}").text
    form = {"recipient": "x@example.org", "outbox_token": valid}
    assert client.post(f"{ROOT}/mail/{id}/recipient", data=form).status_code == 403
    with seeded.engine.connect() as connection:
        detail = operations.show(connection, id)
    assert detail is not None
    assert detail.recipient == "long@example.com"


@pytest.mark.parametrize("recipient", ["dora@example.com", "ann@example.org"])
def test_sensitive_mail_goes_to_nobody_else(ids: dict[str, int], seeded: Database, recipient: str) -> None:
    """Not even who may do everything can send a password reset to another address; the page says what to do."""
    made = site(seeded.url, OUTBOX_SENSITIVE_KINDS=("confirm", "password-reset"))
    client, id = made.app.test_client(), ids[recipient]
    page = client.get(f"{ROOT}/mail/{id}").text
    assert "Correct and requeue" not in page
    assert "so the recipient can't be corrected. Cancel this message" in page
    response = change(client, f"/mail/{id}/recipient", recipient="x@example.org")
    assert response.status_code == 400
    assert "is sensitive" in text_of(response)
    with seeded.engine.connect() as connection:
        detail = operations.show(connection, id)
    made.close()
    assert detail is not None
    assert detail.recipient == recipient


def test_what_was_redacted_cannot_be_sent_again(client: FlaskClient, seeded: Database) -> None:
    """Neither button nor form is offered, and a group says how many are left out and why."""
    with seeded.engine.begin() as connection:
        gone = Mail({"x@sent.example": State.CANCELLED}, kind="password-reset", redacted=True)
        [id] = write(connection, gone)
        write(connection, Mail({"y@sent.example": State.CANCELLED}))
    page = client.get(f"{ROOT}/mail/{id}").text
    assert "so it can't be sent again" in page
    assert 'value="requeue"' not in page
    assert "Correct and requeue" not in page
    words = text_of(question(client, action="requeue", scope="all", domain="sent.example"))
    assert "Requeue 1 message?" in words
    assert "1 of them is left out: the content was redacted" in words
    assert change(client, f"/mail/{id}/recipient", recipient="z@example.org").status_code == 400
