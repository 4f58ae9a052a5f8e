"""The page of suppressed addresses, events on a message's page, and requeueing what was stopped."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from outbox import operations
from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.states import State
from outbox.delivery.suppression import Why
from outbox.models import OutboxDelivery
from outbox.operations import events, suppressions
from outbox.operations.suppressions import Wanted
from outbox.settings import Settings
from outbox.store.posting import Posting
from tests.db.mails import put, states
from tests.flask.test_web import ROOT, change, question, text_of
from tests.servers.databases import Database

SETTINGS = Settings.from_config({"MAIL_DEFAULT_SENDER": "shop@example.org", "OUTBOX_DATABASE_URL": "sqlite://"})
KEY = SETTINGS.address_digest_key
STOPPED = {"reason": "suppression", "reply": "the address is suppressed for all mail: bounced, since 2026-11-20"}


def listed(database: Database) -> list[tuple[str | None, str, str]]:
    with database.engine.connect() as connection:
        found = suppressions.entries(connection, Wanted(), address_key=KEY)
    return [(one.address, one.scope, one.actor) for one in found]


def bounce(database: Database, address: str = "gone@example.org", *, proven: bool = True) -> int:
    """A message was sent and came back; its delivery."""
    [id] = put(database.engine, address, state=State.SENT, posting=Posting(address_key=KEY))
    reply = Reply(550, "5.1.1", "no such <user>")
    event = ReportedEvent(EventType.BOUNCED, "report", f"r{id}", delivery_id=id, reply=reply, proven=proven)
    events.record(database.engine, SETTINGS, [event])
    return id


def test_suppress_search_and_lift(client: FlaskClient, seeded: Database) -> None:
    """By a form, for a time; found by a part of the address; lifted after a question; both in the history."""
    form = {"address": "Eve@example.org", "of": "all", "for": "30d", "note": "asked by phone"}
    response = change(client, "/suppress", **form)
    assert (response.status_code, listed(seeded)) == (303, [("Eve@example.org", "all", "ann@example.org")])
    words = text_of(client.get(response.location))
    assert "Eve@example.org gets no more mail of this scope: all mail." in words
    assert "Eve@example.org is suppressed for all mail." in words
    assert "asked by phone" in text_of(client.get(f"{ROOT}/suppressions?search=eve"))
    assert "No suppression matches." in text_of(client.get(f"{ROOT}/suppressions?search=bob&reason=bounced"))
    assert "Let Eve@example.org get all mail again?" in text_of(client.get(f"{ROOT}/suppressions/1/question"))
    response = change(client, "/suppressions/1/lift", note="again")
    assert "may get all mail again" in text_of(client.get(response.location))
    assert listed(seeded) == []
    assert client.get(f"{ROOT}/suppressions/1/question").status_code == 404
    with seeded.engine.connect() as connection:
        assert [one.action for one in operations.audit.recent(connection, 2)] == ["unsuppress", "suppress"]


@pytest.mark.parametrize("form", [{"address": "nobody"}, {"address": "a@example.org", "of": "x"}], ids=str)
def test_what_is_wrong_is_said_and_kept(client: FlaskClient, seeded: Database, form: dict[str, str]) -> None:
    response = change(client, "/suppress", **form)
    assert response.status_code == 400
    assert form["address"] in response.text
    assert listed(seeded) == []


def test_what_came_after_the_250(client: FlaskClient, seeded: Database) -> None:
    """On the message's page and on the address's, with the effect; unproven events are marked; found by a filter."""
    id, other = bounce(seeded), bounce(seeded, "ben@example.org", proven=False)
    words = text_of(client.get(f"{ROOT}/mail/{id}"))
    assert "bounced 5.1.1 no such <user> All mail to the address is suppressed because of it." in words
    assert "bounced reported, not proven" in text_of(client.get(f"{ROOT}/mail/{other}"))
    words = text_of(client.get(f"{ROOT}/suppressions?search=gone@example.org"))
    assert "gone@example.org is suppressed for all mail." in words
    assert f"message {id}" in words
    found = client.get(f"{ROOT}/mail?event=bounced").text
    assert (f"/mail/{id}" in found, found.count('type="checkbox"')) == (True, 2)
    assert client.get(f"{ROOT}/mail?event=whatever").status_code == 400


def test_a_requeue_leaves_out_what_is_suppressed(client: FlaskClient, seeded: Database) -> None:
    """Unless it is asked for, by a box; also where somebody posts the form without the question."""
    [stopped] = put(seeded.engine, "gone@example.net", state=State.FAILED, delivery=STOPPED)
    [failed] = put(seeded.engine, "full@example.net", state=State.FAILED)
    asked = {"action": "requeue", "scope": "all", "domain": "example.net", "state": "failed"}
    words = text_of(client.get(f"{ROOT}/confirm", query_string=asked))
    assert "1 of them is left out: the address is suppressed" in words
    change(client, "/act", **asked)
    assert [states(seeded.engine)[id] for id in (stopped, failed)] == ["failed", "queued"]
    change(client, "/act", **asked, suppressed="1")
    assert states(seeded.engine)[stopped] == "queued"
    with seeded.engine.connect() as connection:
        assert connection.execute(sa.select(OutboxDelivery.unsuppressed).where(OutboxDelivery.id == stopped)).scalar()


def test_one_that_is_suppressed_is_asked_about(client: FlaskClient, seeded: Database) -> None:
    """Its button leads to a question that says why."""
    [id] = put(seeded.engine, "gone@example.net", state=State.FAILED, delivery=STOPPED)
    page = client.get(f"{ROOT}/mail/{id}").text
    assert ('value="requeue"' in page, 'id="requeue"' in page) == (False, True)
    asked = question(client, action="requeue", id=id, origin=id)
    assert "The address is suppressed for all mail: bounced, since 2026-11-20. Send all the same?" in text_of(asked)
    change(client, "/act", action="requeue", id=str(id), origin=str(id))
    assert states(seeded.engine)[id] == "failed"
    change(client, "/act", action="requeue", id=str(id), origin=str(id), suppressed="1")
    assert states(seeded.engine)[id] == "queued"


def test_hostile_words(client: FlaskClient, seeded: Database) -> None:
    """What servers and people wrote is text."""
    with seeded.engine.begin() as connection:
        suppressions.suppress(
            connection, "x@example.org", by="<b>me", address_key=KEY, reason=Why.BOUNCED, note="<script>1</script>"
        )
    page = client.get(f"{ROOT}/suppressions").text
    assert ("<script>1" in page, "<b>me" in page) == (False, False)
