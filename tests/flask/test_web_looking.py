"""Pages that stop looking when their time is up, by Flask's test client."""

from __future__ import annotations

import re
import sys
from html import unescape

import pytest
from flask.testing import FlaskClient

from outbox.delivery.states import State
from outbox.web import actions, pages
from tests.flask.test_web import ROOT, count, question, text_of
from tests.servers.databases import Database


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at 20 mails and no more."""
    monkeypatch.setattr(sys.modules["outbox.operations.browse"], "WINDOW", 20)
    for module, name in ((pages, "LOOK_SECONDS"), (pages, "FURTHER_SECONDS"), (actions, "LOOK_SECONDS")):
        monkeypatch.setattr(module, name, 0.0)


def test_it_says_so_and_leads_on(client: FlaskClient) -> None:
    """A page that found nothing yet says how many it looked at; further back the mail is found."""
    page = client.get(f"{ROOT}/mail?recipient=user3%40")  # an address without its end is a part of one
    assert "0 of the newest 20 match" in text_of(page)
    assert "None of the 20 messages searched so far." in text_of(page)
    for _ in range(10):
        if "user3@gone.example.org" in page.text:
            break
        link = re.search(r'href="([^"]+)">Search further', page.text)
        assert link
        page = client.get(unescape(link[1]))
    assert "user3@gone.example.org" in text_of(page)


def test_at_its_end_it_says_nothing(client: FlaskClient) -> None:
    """Where an index finds the mail no look is cut short."""
    for words in ("state=failed", "recipient=user3@gone.example.org"):
        assert "Search further" not in client.get(f"{ROOT}/mail?{words}").text


def test_a_change_is_for_all_that_match(client: FlaskClient, seeded: Database) -> None:
    """The preview says that it could not count them all, and the change takes them all the same."""
    page = question(client, action="requeue", scope="all", state="failed", kind="newsletter")
    words = text_of(page)
    assert "Requeue all that match?" in words
    assert "at least 1" in words
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    assert client.post(f"{ROOT}/act", data=dict(fields)).status_code == 303
    assert count(seeded, states=(State.FAILED,), kind="newsletter") == 0
    assert count(seeded, states=(State.QUEUED,), kind="newsletter") == 37
