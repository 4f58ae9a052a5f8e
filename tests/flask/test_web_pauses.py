"""The pages of pauses and of what people changed, by Flask's test client."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from html import unescape

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

import outbox.web
from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxDelivery
from outbox.operations import flow
from outbox.operations.pauses import Pause, What
from outbox.store.pauses import refuse
from outbox.web import charts
from tests.db.mails import slow
from tests.flask.test_web import ROOT, change, count, question, text_of
from tests.servers.databases import Database
from tests.web.seed import GREYLISTED, SCRIPT, Mail, write
from tests.web.site import Site, bare


def pauses(database: Database) -> list[Pause]:
    with database.engine.connect() as connection:
        return operations.pauses.active(connection)


def entries(database: Database) -> list[operations.audit.Entry]:
    with database.engine.connect() as connection:
        return operations.audit.recent(connection)


class TestPauses:
    """Pause and resume by a form."""

    def test_pause_and_resume(self, client: FlaskClient, seeded: Database) -> None:
        """A domain is paused with reason and end, seen on the page and the overview, and let go again."""
        form = {"what": "domain", "value": "Gone.example.ORG", "for": "4h", "reason": "their disk is full"}
        response = change(client, "/pause", **form)
        assert (response.status_code, response.location) == (303, f"{ROOT}/pauses")
        [made] = pauses(seeded)
        assert (made.what, made.value, made.reason, made.by) == (
            What.DOMAIN,
            "gone.example.org",
            "their disk is full",
            "ann@example.org",
        )
        assert made.until is not None
        assert (made.until - made.since).total_seconds() == pytest.approx(4 * 3600, abs=1)
        assert "domain gone.example.org their disk is full ann@example.org" in text_of(client.get(response.location))
        assert "Paused: domain gone.example.org" in text_of(client.get(f"{ROOT}/"))
        response = change(client, "/resume", what="domain", value="gone.example.org")
        words = text_of(client.get(response.location))
        assert "Resumed domain gone.example.org: 0 queued messages are sent when due." in words
        assert pauses(seeded) == []
        assert "paused" not in text_of(client.get(f"{ROOT}/"))

    def test_all_mail_without_an_end(self, client: FlaskClient, seeded: Database) -> None:
        """All mail may be paused until somebody resumes it; a value that is left in the form does not matter."""
        change(client, "/pause", what="all", value="left over", **{"for": ""})
        [made] = pauses(seeded)
        assert (made.what, made.value, made.until) == (What.ALL, "", None)

    def test_what_ended_already(self, client: FlaskClient) -> None:
        """Resuming what is not paused changes nothing and says so."""
        response = change(client, "/resume", what="kind", value="x")
        assert "Nothing was changed" in text_of(client.get(response.location))

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ({"what": "everything"}, "can't be paused"),
            ({"what": "kind", "value": " "}, "is no kind"),
            ({"what": "transport", "value": "sess"}, "o mail goes by a transport"),
            ({"what": "kind", "value": "x" * 300}, "is no kind"),
            ({"what": "kind", "value": "x", "for": "soon"}, "is not a duration"),
            ({"what": "kind", "value": "x", "for": "0s"}, "at least one second"),
        ],
    )
    def test_bad_forms(self, client: FlaskClient, seeded: Database, form: dict[str, str], expected: str) -> None:
        """A form that says nothing sensible is refused with 400."""
        response = change(client, "/pause", **form)
        assert response.status_code == 400
        assert expected in text_of(response)
        assert pauses(seeded) == []

    def test_only_who_may_act(self, pages: Site, client: FlaskClient, seeded: Database) -> None:
        """Who may only look sees what is paused and no form."""
        change(client, "/pause", what="kind", value="newsletter")
        pages.rights.act = False
        page = client.get(f"{ROOT}/pauses")
        assert "newsletter" in page.text
        assert "<form method" not in page.text

    def test_a_form_that_is_filled_in(self, client: FlaskClient) -> None:
        """The failures lead to the pause of their domain."""
        link = re.search(r'href="([^"]*/pauses\?[^"]*gone[^"]*)"', client.get(f"{ROOT}/failures").text)
        assert link
        assert 'name="value" value="gone.example.org"' in client.get(link[1].replace("&amp;", "&")).text


class TestHistory:
    """Who changed what, and when."""

    def test_a_group_with_a_note(self, client: FlaskClient, seeded: Database) -> None:
        """A change of many is one row: who, what, how many, by which filter, why."""
        change(client, "/act", action="requeue", scope="all", state="failed", error="5.1.1", note="the domain is back")
        [entry] = entries(seeded)
        assert (entry.action, entry.by, entry.count, entry.note) == (
            "requeue",
            "ann@example.org",
            38,
            "the domain is back",
        )
        words = text_of(client.get(f"{ROOT}/history"))
        assert "ann@example.org requeue 38 state=failed error=5.1.1 the domain is back" in words

    def test_one_mail(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """The page of a mail tells what people did to it."""
        id = ids["invoice@example.com"]
        change(client, "/act", action="mark-sent", id=id, origin=id, note="she has it")
        assert "mark-sent by ann@example.org : she has it" in text_of(client.get(f"{ROOT}/mail/{id}"))
        other = ids["ann@example.org"]
        assert "she has it" not in client.get(f"{ROOT}/mail/{other}").text

    def test_the_confirmation_asks_for_a_note(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """What is confirmed may be given a reason."""
        page = question(client, action="requeue", id=ids["invoice@example.com"])
        assert 'name="note"' in page.text

    def test_hostile_notes_stay_text(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Script in a note or a reason is shown, not run."""
        id = ids["ann@example.org"]
        change(client, "/act", action="requeue", id=id, note=SCRIPT)
        change(client, "/pause", what="kind", value=SCRIPT, reason=SCRIPT)
        for path in ("/", "/history", "/pauses", f"/mail/{id}"):
            page = client.get(ROOT + path).text
            assert SCRIPT not in page, path
            assert "&lt;script&gt;" in page, path

    def test_pages(self, client: FlaskClient, seeded: Database) -> None:
        """Older changes are on further pages, by key."""
        with seeded.engine.begin() as connection:
            for number in range(60):
                operations.audit.write(connection, "purge", by=f"person {number}", count=1)
        first = client.get(f"{ROOT}/history").text
        assert "person 59" in first
        assert "person 9<" not in first
        link = re.search(r'rel="next" href="([^"]+)"', first)
        assert link
        second = client.get(link[1]).text
        assert "person 9<" in second
        assert "person 10<" not in second

    @pytest.mark.parametrize("before", ["x", "-1", "1e3"])
    def test_bad_cursor(self, client: FlaskClient, before: str) -> None:
        """What is no number is told so."""
        assert client.get(f"{ROOT}/history?before={before}").status_code == 400

    def test_a_cursor_beyond_all_numbers(self, client: FlaskClient) -> None:
        """A number that no row can have is as good as none."""
        assert client.get(f"{ROOT}/history?before={'9' * 19}").status_code == 200

    def test_without_a_name(self, seeded: Database, ids: dict[str, int]) -> None:
        """A change by somebody whose name the application does not tell is kept under a question mark."""
        app = bare(seeded.url)
        app.register_blueprint(outbox.web.blueprint(may_view=lambda: True, may_act=lambda: True), url_prefix=ROOT)
        change(app.test_client(), "/act", action="requeue", id=ids["ann@example.org"])
        assert [entry.by for entry in entries(seeded)] == ["?"]


class TestCharts:
    """What ended lately."""

    def test_both_charts(self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
        """The last hour and the last day, as bars with what they stand for in words."""
        monkeypatch.setattr(charts, "flow", partial(flow, seconds=60.0))  # a busy machine counts them, too
        page = client.get(f"{ROOT}/").text
        assert page.count('<svg class="chart" role="img"') == 2
        assert re.search(r'aria-label="Last day: \d+ sent, 4\d failed', page)
        assert re.search(r"<title>\d\d:\d\d–\d\d:\d\d UTC: \d+ sent, \d+ failed</title>", page)

    def test_bars_that_are_not_counted_yet(self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
        """The totals are those of the tiles all the same, and a key says what a grey bar is."""
        monkeypatch.setattr(charts, "flow", partial(flow, seconds=-1.0))
        page = client.get(f"{ROOT}/")
        assert "UTC: not counted yet</title>" in page.text
        words = text_of(page)
        day = re.search(r"Last day ([\d,]+) sent ([\d,]+) failed bars not counted yet", words)
        assert day
        assert f"{day[1]} sent in the last day" in words


class TestDeferred:
    """Mail that was tried in vain and waits."""

    def test_a_group_is_cancelled(self, client: FlaskClient, seeded: Database) -> None:
        """Deferred mail is grouped by its cause, and the group can be cancelled without touching what is new."""
        with seeded.engine.begin() as connection:
            for number in range(3):
                deferred = Mail({f"d{number}@slow.example": State.QUEUED}, tries=[GREYLISTED], reason="deferred")
                write(connection, deferred)
            write(connection, Mail({"new@slow.example": State.QUEUED}))
        page = client.get(f"{ROOT}/failures")
        assert "3 × 4.7.1 slow.example smtp.example.com:587 : Greylisted, please try again in 5 minutes" in text_of(
            page
        )
        form = re.search(r'<form[^>]*aria-label="4.7.1 to slow.example">(.*?)</form>', page.text, re.DOTALL)
        assert form
        fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form[1]))
        assert fields["action"] == "cancel"
        assert "Cancel 3 messages?" in text_of(client.get(f"{ROOT}/confirm", query_string=fields))
        change(client, "/act", **fields)
        assert count(seeded, states=(State.CANCELLED,), domain="slow.example") == 3
        assert count(seeded, states=(State.QUEUED,), domain="slow.example") == 1


def test_a_sender_that_workers_stopped(client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
    """It is listed with the relay's words and the next attempt, named on the page of its mail, and resumed."""
    with seeded.engine.begin() as connection:
        refused = {"environment": "", "transport": "mail:25", "reason": "refused by mail:25"}
        reply = f"554 not verified {SCRIPT}"
        assert refuse(connection, What.SENDER, "flasky@example.com", **refused, reply=reply)
    page = client.get(f"{ROOT}/pauses")
    words = text_of(page)
    assert SCRIPT not in page.text
    assert "554 not verified" in words
    assert "mail:25 refuses this sender while it takes other mail: 554 not verified" in words
    assert "Verify the sender's address" in words
    assert "the outbox itself" in words
    assert "the relay accepts a message; next probe in" in words
    shown = client.get(f"{ROOT}/mail/{ids['dora@example.com']}")
    assert "It is not sent until this pause ends: sender flasky@example.com, by the outbox itself" in text_of(shown)
    assert "mail:25 refuses this sender while it takes other mail: 554 not verified" in text_of(shown)
    assert "One message is tried again in" in text_of(shown)
    assert SCRIPT not in shown.text
    assert "Stopped: sender flasky@example.com" in text_of(client.get(f"{ROOT}/"))
    response = change(client, "/resume", what="sender", value="flasky@example.com")
    assert "Resumed sender " in text_of(client.get(response.location))


def test_a_sender_is_paused_by_a_form(client: FlaskClient, seeded: Database) -> None:
    """As its mail holds it; also the null sender, under its name, and it can be resumed by that."""
    change(client, "/pause", what="sender", value="Flasky <flasky@EXAMPLE.com>", **{"for": "1h"})
    change(client, "/pause", what="sender", value="<>", **{"for": "1h"})
    assert [one.value for one in pauses(seeded)] == ["flasky@example.com", ""]
    page = client.get(f"{ROOT}/pauses").text
    for value in re.findall(r'name="what" value="sender"><input type="hidden" name="value" value="([^"]*)"', page):
        response = change(client, "/resume", what="sender", value=unescape(value))
        assert "Resumed sender " in text_of(client.get(response.location))
    assert pauses(seeded) == []
    assert "is not a sender" in change(client, "/pause", what="sender", value="nobody").text


def test_a_list_says_why_queued_mail_is_not_sent(client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
    """Paused by which pauses, scheduled, or deferred until when; in the list and in the question before a change."""
    with seeded.engine.begin() as connection:
        operations.pauses.pause(connection, What.KIND, "password-reset", by="bea@example.org")
        operations.pauses.pause(connection, What.MESSAGE, str(ids["dora@example.com"]), by="bea@example.org")
        automatic = {"environment": "", "transport": "mail:25", "reason": "refused", "reply": "550 no"}
        assert refuse(connection, What.SENDER, "other@example.com", **automatic)
        write(connection, Mail({"sender@example.com": State.QUEUED}, sender="other@example.com"))
        [later] = write(connection, Mail({"later@example.com": State.QUEUED}))
        write(connection, Mail({"slow@example.com": State.QUEUED}, tries=[GREYLISTED], reason="deferred"))
        due = datetime.now(UTC) + timedelta(hours=2, seconds=30)
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id == later).values(due_at=due))
    rows = client.get(f"{ROOT}/mail?state=queued").text.split("<tr ")
    why = {
        recipient[1]: " ".join(
            re.sub(r"<[^>]*>", " ", row.partition('data-label="Why">')[2].partition("</td>")[0]).split()
        )
        for row in rows
        if (recipient := re.search(r'data-label="Recipient"><bdi>([^<]*)<', row))
    }
    dora = ids["dora@example.com"]
    assert re.fullmatch(rf"paused: kind password-reset, message {dora} due (\w+ ago|now)", why["dora@example.com"])
    assert re.fullmatch(r"paused: sender other@example\.com due (\w+ ago|now)", why["sender@example.com"])
    assert why["later@example.com"] == "scheduled in 2h"
    assert why["slow@example.com"].startswith("deferred, next attempt in 3m 450 4.7.1 Greylisted")
    asked = text_of(question(client, action="cancel", id=[dora]))
    assert f"paused: kind password-reset, message {dora} due" in asked
    assert "Queued : held back by a pause." in text_of(client.get(f"{ROOT}/mail/{dora}"))
    assert "paused:" not in text_of(client.get(f"{ROOT}/mail?state=failed"))


def test_a_transport_that_is_slowed(client: FlaskClient, seeded: Database) -> None:
    """It is listed with the relay's words, escaped, and goes by its full rate again at the push of a button."""
    slow(seeded.engine, "mail:25", f"dot: 454 4.7.0 Throttling failure {SCRIPT}")
    page = client.get(f"{ROOT}/pauses")
    assert SCRIPT not in page.text
    assert re.search(r"transport mail:25 [45](\.\d+)?/s dot: 454 4.7.0 Throttling failure", text_of(page))
    response = change(client, "/speed-up", transport="mail:25")
    assert "Mail by mail:25 goes as fast as before" in text_of(client.get(response.location))
    assert entries(seeded)[0].filters == "lower rates of mail:25"
    assert "Slowed" not in text_of(client.get(f"{ROOT}/pauses"))
    response = change(client, "/speed-up", transport="mail:25")
    assert "no mail by that transport is slowed" in text_of(client.get(response.location))
