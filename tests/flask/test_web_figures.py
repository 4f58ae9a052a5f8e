"""Lists, figures and files of the pages: what waits for what, by kind, by age, over which time, as CSV; the audit."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from jinja2 import ChoiceLoader, DictLoader

from outbox import operations
from outbox.delivery.states import State
from tests.db.mails import put
from tests.db.test_lists import metadata
from tests.flask.test_web import ROOT, change, text_of
from tests.servers.databases import Database
from tests.web.seed import GREYLISTED, Mail, write
from tests.web.site import Site, site


def recipients(client: FlaskClient, words: str) -> list[str]:
    page = client.get(f"{ROOT}/mail?{words}")
    assert page.status_code == 200
    return re.findall(r'data-label="Recipient"><bdi>([^<]*)</bdi>', page.text)


def test_metadata_is_shown(client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
    """As text, with a link to the other messages that have it."""
    id = ids["ann@example.org"]
    metadata(seeded.engine, id, {"order": 1147, "tags": ["a", "ü"], "on": True, "customer": "<b>Ann</b>"})
    page = client.get(f"{ROOT}/mail/{id}")
    assert 'order 1147 tags ["a", "ü"] on true customer <b>Ann</b>' in text_of(page)
    assert f'href="{ROOT}/mail?metadata=order%3D1147"' in page.text or "metadata=order%3D1147" in page.text
    assert recipients(client, "metadata=order%3D1147") == ["ann@example.org"]


def test_the_lists_have_pages(client: FlaskClient) -> None:
    """A tab each; a scheduled message is not said to wait for its next attempt."""
    assert recipients(client, "waits=deferred") == ["long@example.com"]
    assert "dora@example.com" in recipients(client, "waits=due")
    assert recipients(client, "waits=scheduled") == []
    assert "is not a list of queued mail" in client.get(f"{ROOT}/mail?waits=x").text
    first = recipients(client, "order=oldest&state=failed")
    assert first == recipients(client, "state=failed")[::-1]


def test_scheduled_is_not_a_next_attempt(client: FlaskClient, seeded: Database) -> None:
    """The list and the page of a message that was enqueued for later say so."""
    later = datetime.now(UTC) + timedelta(hours=2)
    [id] = put(seeded.engine, "later@example.org", delivery={"due_at": later})
    for path in ("/mail?recipient=later@example.org", f"/mail/{id}"):
        words = text_of(client.get(ROOT + path))
        assert "next attempt" not in words
        assert "scheduled" in words.lower()


class TestKinds:
    """Which kind fails most."""

    def test_figures(self, client: FlaskClient) -> None:
        """The kind of which most failed comes first, with its share, and leads to its failures."""
        page = client.get(f"{ROOT}/kinds")
        rows = re.findall(r'data-label="Kind"><strong>(.*?)</strong>', page.text)
        assert "newsletter" in rows[0]
        assert re.search(r"newsletter 37 38\.1 % 60 [\dhms ]+ 0 0 0", text_of(page))
        assert f'href="{ROOT}/mail?kind=newsletter&amp;state=failed&amp;since=1d"' in page.text
        assert "newsletter" not in re.findall(
            r'data-label="Kind"><strong>(.*?)</strong>', client.get(f"{ROOT}/kinds?window=1m").text
        )

    @pytest.mark.parametrize("word", ["soon", "1s", "9999d"])
    def test_bad_times(self, client: FlaskClient, word: str) -> None:
        """A time that is none, or too long, is refused."""
        for path in ("kinds", "failures"):
            assert client.get(f"{ROOT}/{path}?window={word}").status_code == 400


def test_failures_over_a_time(client: FlaskClient) -> None:
    """What failed earlier is grouped where the time reaches back so far, and its link keeps the time."""
    assert "expired" in client.get(f"{ROOT}/failures?window=30d").text
    page = client.get(f"{ROOT}/failures?window=1m").text
    assert "since=1d" not in page
    assert "window=1m" in page


def test_backlog(client: FlaskClient, seeded: Database) -> None:
    """Domains by age: where mail piles up, and since when."""
    with seeded.engine.begin() as connection:
        many = {f"d{number}@slow.example": State.QUEUED for number in range(9)}
        write(connection, Mail(many, tries=[GREYLISTED], reason="deferred", ago=3000.0))
    words = text_of(client.get(f"{ROOT}/backlog"))
    assert "slow.example 9 · · · · 9" in words


class TestCsv:
    """The list as a file."""

    def rows(self, client: FlaskClient, words: str) -> list[list[str]]:
        response = client.get(f"{ROOT}/mail.csv?{words}")
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.headers["Content-Disposition"].startswith("attachment; filename=mail-")
        return list(csv.reader(io.StringIO(response.data.decode("utf-8-sig"))))

    def test_all_that_match(self, client: FlaskClient, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
        """Every row once, over several steps, in the order that was asked for."""
        monkeypatch.setattr("outbox.web.export.STEP", 7)
        head, *rows = self.rows(client, "state=failed&order=oldest")
        assert head[:4] == ["id", "state", "recipient", "subject"]
        assert [row[2] for row in rows] == recipients(client, "state=failed&order=oldest")
        [ann] = [row for row in rows if row[2] == "ann@example.org"]
        assert ann[10:13] == ["550", "5.1.1", "The email account that you tried to reach does not exist."]

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\r=1"])
    def test_no_formula(self, client: FlaskClient, seeded: Database, text: str) -> None:
        """What a spreadsheet would run as a formula is text."""
        with seeded.engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE outbox_delivery SET reply = :text WHERE state = 'uncertain'"), {"text": text}
            )
        _, row = self.rows(client, "state=uncertain")
        assert row[12] == f"'{text}"

    def test_who_may(self, pages: Site, client: FlaskClient) -> None:
        """It shows what the list shows, to those who may look, and nothing of what messages say."""
        assert "auth/reset" not in client.get(f"{ROOT}/mail.csv?recipient=ann@example.org").text
        assert client.get(f"{ROOT}/mail.csv?state=nonsense").status_code == 400
        pages.rights.view = False
        assert client.get(f"{ROOT}/mail.csv").status_code == 403


def test_the_audit_can_be_filtered(client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
    """By who, what, which message and when."""
    change(client, "/act", action="cancel", id=ids["long@example.com"])
    change(client, "/act", action="requeue", id=ids["ann@example.org"])
    with seeded.engine.begin() as connection:
        operations.audit.write(connection, "purge", by="bob@example.org", count=3, filters="state=sent")

    def actions(words: str) -> list[str]:
        page = client.get(f"{ROOT}/history?{words}").text
        return re.findall(r'data-label="What"><strong>([^<]*)</strong>', page)

    assert actions("") == ["purge", "requeue", "cancel"]
    assert actions("by=bob@example.org") == ["purge"]
    assert actions("action=cancel") == ["cancel"]
    assert actions(f"mail={ids['ann@example.org']}") == ["requeue"]
    assert actions("until=2020-01-01") == []
    assert actions("from=2020-01-01&by=ann@example.org") == ["requeue", "cancel"]
    assert client.get(f"{ROOT}/history?mail=x").status_code == 400
    assert client.get(f"{ROOT}/history?from=x").status_code == 400


class TestStanding:
    """Where the pages stand, and how to leave them."""

    def test_site_way_back_and_log_out(self, seeded: Database) -> None:
        """The site's name, who looks, the way back and a POST that logs out."""
        made = site(seeded.url, blueprint={"site_name": "Flasky", "home": "/", "logout": lambda: "/auth/logout"})
        page = made.app.test_client().get(f"{ROOT}/mail")
        words = text_of(page)
        assert "Back to Flasky" in words
        assert "Signed in as ann@example.org" in words
        assert '<form method="post" action="/auth/logout">' in page.text
        assert "· Outbox · Flasky</title>" in page.text
        made.close()

    def test_templates_are_extended(self, seeded: Database) -> None:
        """An application's own outbox_admin/base.html fills the blocks of ours."""
        made = site(seeded.url)
        own = '{% extends "outbox_admin/layout.html" %}{% block footer %}<p>Ours: ring 110</p>{% endblock %}'
        made.app.jinja_loader = ChoiceLoader([DictLoader({"outbox_admin/base.html": own})])  # type: ignore[assignment]
        page = made.app.test_client().get(f"{ROOT}/failures").text
        assert "Ours: ring 110" in page
        assert "<h1>Failures</h1>" in page
        made.close()
