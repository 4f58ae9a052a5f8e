"""Sending deferred and scheduled mail now from the pages, by Flask's test client."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from outbox import operations
from outbox.models import OutboxAudit, OutboxDelivery
from outbox.store.pauses import What
from tests.flask.test_web import ROOT, change, question, text_of, token
from tests.servers.databases import Database
from tests.web.site import Site

BUTTON = 'value="send-now"'


@pytest.fixture
def later(seeded: Database, ids: dict[str, int]) -> int:
    """A deferred mail, with an attempt."""
    id = ids["long@example.com"]
    with seeded.engine.begin() as connection:
        of_it = OutboxDelivery.id == id
        at = datetime(2040, 1, 1, tzinfo=UTC)
        values = {"due_at": at, "attempts": 4, "lane": 3, "enhanced": "4.7.1", "code": 450}
        connection.execute(sa.update(OutboxDelivery).where(of_it).values(**values))
    return id


def row(seeded: Database, id: int) -> tuple[bool, int, int]:
    """Whether it is due, its attempts and its lane."""
    with seeded.engine.connect() as connection:
        columns = (OutboxDelivery.due_at, OutboxDelivery.attempts, OutboxDelivery.lane)
        due_at, attempts, lane = connection.execute(sa.select(*columns).where(OutboxDelivery.id == id)).one()
    return due_at is not None and due_at <= datetime.now(UTC), attempts, lane


def audit(seeded: Database) -> list[tuple[str, str, int]]:
    with seeded.engine.connect() as connection:
        select = sa.select(OutboxAudit.action, OutboxAudit.actor, OutboxAudit.count)
        rows = connection.execute(select.where(OutboxAudit.action != "read"))  # it notes who looked, too
        return [(one.action, one.actor, one.count) for one in rows]


def test_one_mail_at_once(client: FlaskClient, seeded: Database, later: int) -> None:
    """Due now, with the attempts that it had; the page says who did it."""
    assert BUTTON in client.get(f"{ROOT}/mail/{later}").text
    response = change(client, "/act", action="send-now", id=later, origin=later)
    words = text_of(client.get(response.location))
    assert "This message is due now." in words
    assert "send-now by ann@example.org" in words
    assert row(seeded, later) == (True, 4, 3)
    assert audit(seeded) == [("send-now", "ann@example.org", 1)]


def test_what_is_due_already_has_no_button(client: FlaskClient, ids: dict[str, int]) -> None:
    """Nor has what is not queued."""
    for recipient in ("dora@example.com", "carol@example.com", "ann@example.org", "tanaka@example.jp"):
        assert BUTTON not in client.get(f"{ROOT}/mail/{ids[recipient]}").text, recipient


def test_ticked_ones_are_shown_first(client: FlaskClient, seeded: Database, ids: dict[str, int], later: int) -> None:
    """The preview counts what is due later; the change leaves the rest as it is."""
    assert BUTTON in client.get(f"{ROOT}/mail?state=queued").text
    ticked = [later, ids["dora@example.com"], ids["ann@example.org"]]
    words = text_of(question(client, action="send-now", id=ticked))
    assert "Send 1 message now?" in words
    assert "failed mail can't be made due now" in words
    change(client, "/act", action="send-now", id=ticked)
    assert row(seeded, later)[0]
    assert audit(seeded) == [("send-now", "ann@example.org", 1)]


def test_a_deferred_group(client: FlaskClient, seeded: Database, later: int) -> None:
    """On the page of failures, by error and domain."""
    page = client.get(f"{ROOT}/failures")
    assert "Deferred: will be retried" in page.text
    assert BUTTON in page.text
    words = text_of(
        question(client, action="send-now", scope="all", state="queued", error="4.7.1", domain="example.com")
    )
    assert "Send 1 message now?" in words
    change(client, "/act", action="send-now", scope="all", state="queued", error="4.7.1", domain="example.com")
    assert row(seeded, later)[0]


def test_a_pause_that_holds_it_is_named(client: FlaskClient, seeded: Database, later: int) -> None:
    """Before, and on the page of the mail."""
    with seeded.engine.begin() as connection:
        operations.pauses.pause(connection, What.DOMAIN, "example.com", by="ben")
    assert "sent only when the pause ends: domain example.com (1)" in text_of(
        question(client, action="send-now", id=later)
    )
    assert "It is not sent until this pause ends: domain example.com, by ben" in text_of(
        client.get(f"{ROOT}/mail/{later}")
    )


def test_it_is_a_right_of_its_own(pages: Site, client: FlaskClient, seeded: Database, later: int) -> None:
    """Who has it may do nothing else, and who has all others not this."""
    valid = token(client)
    assert valid
    pages.rights.send_now = False
    for path in (f"/mail/{later}", "/mail?state=queued", "/failures"):
        assert BUTTON not in client.get(ROOT + path).text, path
    assert question(client, action="send-now", id=later).status_code == 403
    assert change(client, "/act", action="send-now", id=later).status_code == 403
    assert not row(seeded, later)[0]
    pages.rights.send_now, pages.rights.act = True, False
    page = client.get(f"{ROOT}/mail/{later}").text
    assert BUTTON in page
    assert 'value="cancel"' not in page
    assert "Correct and requeue" not in page
    assert change(client, "/act", action="cancel", id=later).status_code == 403
    assert change(client, "/act", action="send-now", id=later).status_code == 303
    assert row(seeded, later)[0]


def test_without_a_token_nothing_is_done(client: FlaskClient, seeded: Database, later: int) -> None:
    """As for every change."""
    assert client.post(f"{ROOT}/act", data={"action": "send-now", "id": later}).status_code in {400, 403}
    assert not row(seeded, later)[0]
