"""What a page says after a change: what became of how much, and what holds it back all the same."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from outbox import operations
from outbox.delivery.states import State
from outbox.operations.pauses import What
from tests.flask.test_web import ROOT, change, question, text_of
from tests.servers.databases import Database
from tests.web.seed import GREYLISTED, Mail, refuse_sender, worker, write


def pause(database: Database, what: What, value: str = "", **options: object) -> None:
    with database.engine.begin() as connection:
        operations.pauses.pause(connection, what, value, by="bea@example.org", **options)  # type: ignore[arg-type]


def said(client: FlaskClient, path: str, **form: object) -> str:
    """On the page that a change leads to."""
    page = client.get(change(client, path, **form).location)
    found = re.findall(r'role="status">(.*?)</div>', page.text, re.DOTALL)
    return " ".join(text.strip() for text in re.sub(r"<[^>]*>", "", " | ".join(found)).split()).replace(" | ", " ")


class TestMessages:
    """Requeue, send now, cancel."""

    def test_some_are_held(self, client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
        """How many by which pause, with the way to it."""
        with seeded.engine.begin() as connection:
            later = Mail({"a@slow.example": State.QUEUED}, kind="newsletter", tries=[GREYLISTED], reason="deferred")
            write(connection, later)
        pause(seeded, What.KIND, "newsletter")
        form = {"action": "send-now", "scope": "all", "state": "queued", "waits": "deferred"}
        words = said(client, "/act", **form)
        assert words == "2 messages are due now; 1 stays held by the pause of kind newsletter. Show the pauses"
        words = said(client, "/act", action="requeue", scope="all", state="failed", domain="gone.example.org")
        assert words.startswith(
            "37 messages are queued again and due now; 37 stay held by the pause of kind newsletter."
        )

    def test_one_is_held_by_several(self, client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
        """On its own page it is this message; three pauses are named."""
        pause(seeded, What.ALL)
        for domain in ("example.org", "example.com"):
            pause(seeded, What.DOMAIN, domain)
        id = ids["ann@example.org"]
        words = said(client, "/act", action="requeue", id=id, origin=id)
        assert words == (
            "This message is queued again and due now; it stays held by the pause of all mail, "
            "it stays held by the pause of domain example.org. Show the pauses"
        )

    def test_the_question_names_them_before(self, client: FlaskClient, seeded: Database) -> None:
        """Also of what is requeued."""
        pause(seeded, What.KIND, "newsletter")
        words = text_of(question(client, action="requeue", scope="all", state="failed", domain="gone.example.org"))
        assert "sent only when the pause ends: kind newsletter (37)" in words

    def test_nothing_is_held(self, client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
        """What is cancelled is held by nothing; what could not be changed is said to be as it was."""
        pause(seeded, What.ALL)
        words = said(client, "/act", action="cancel", id=ids["long@example.com"])
        assert words == "1 message is cancelled, and not sent unless requeued."
        words = said(client, "/act", action="requeue", id=ids["tanaka@example.jp"])
        assert words == "Nothing was changed: no message was still in a state that can be requeued."

    def test_corrected_and_sent_again(self, client: FlaskClient, seeded: Database, ids: dict[str, int]) -> None:
        """These are queued, too."""
        pause(seeded, What.ALL)
        words = said(client, f"/mail/{ids['ann@example.org']}/recipient", recipient="ann@example.net")
        held = "it stays held by the pause of all mail. Show the pauses"
        assert words == f"This message is addressed to ann@example.net, queued again and due now; {held}"
        words = said(client, f"/mail/{ids['tanaka@example.jp']}/send-again")
        assert words == f"This message is the new one, queued and due now; {held}"


class TestPauses:
    """Pause and resume."""

    def test_paused(self, client: FlaskClient) -> None:
        """What, until when, and how much is held back."""
        words = said(client, "/pause", what="domain", value="example.com", **{"for": "1h"})
        pattern = r"Paused domain example\.com until \S+ \S+ UTC: 2 queued messages are held back\. Workers stop .*"
        assert re.fullmatch(pattern, words)

    def test_resumed(self, client: FlaskClient, seeded: Database) -> None:
        """How much may go on."""
        pause(seeded, What.DOMAIN, "example.com")
        words = said(client, "/resume", what="domain", value="example.com", environment="*")
        assert words == "Resumed domain example.com: 2 queued messages are sent when due."

    def test_resumed_and_held_by_another(self, client: FlaskClient, seeded: Database) -> None:
        """What of its mail stays held, by which."""
        pause(seeded, What.DOMAIN, "example.com")
        with seeded.engine.begin() as connection:
            refuse_sender(connection)
            write(connection, Mail({"x@example.com": State.QUEUED}, sender="other@example.com"))
        words = said(client, "/resume", what="domain", value="example.com", environment="*")
        assert words.startswith(
            "Resumed domain example.com; of its mail 2 stay held by the pause of sender flasky@example.com."
        )

    @pytest.mark.parametrize("origin", [True, False])
    def test_resumed_while_everything_is_paused(
        self, client: FlaskClient, seeded: Database, ids: dict[str, int], origin: bool
    ) -> None:
        """By whom."""
        id = ids["dora@example.com"]
        pause(seeded, What.ALL)
        pause(seeded, What.MESSAGE, str(id))
        form = {"what": "message", "value": str(id), "environment": "*"} | ({"origin": id} if origin else {})
        name = "this message" if origin else f"message {id}"
        words = said(client, "/resume", **form)
        assert words == f"Resumed {name}; everything is still paused by bea@example.org. Show the pauses"


def test_a_worker_that_is_asked_to_stop(client: FlaskClient, seeded: Database) -> None:
    """Which, when it ends, and what that means for the rest."""
    words = said(client, "/workers/1/end", what="stop")
    assert words == (
        "Asked worker mail-1:4711 to stop. It ends when it has finished what it is sending. "
        "No other worker is alive: then nothing is sent until you start another."
    )
    with seeded.engine.begin() as connection:
        worker(connection)
    words = said(client, "/workers/2/end", what="drain")
    assert words == "Asked worker mail-1:4711 to drain. It ends when it finds nothing due any more."


class TestTicks:
    """Nothing ticked, or not yet what was meant: neither filter nor ticks are lost."""

    @pytest.mark.parametrize("path", ["/confirm", "/act"])
    def test_nothing_is_ticked(self, client: FlaskClient, seeded: Database, path: str) -> None:
        """Back on the same page of the same list, which says so."""
        form = {"action": "requeue", "scope": "ticked", "state": "failed", "error": "5.1.1", "before": 999, "trail": 0}
        response = change(client, path, **form) if path == "/act" else question(client, **form)
        assert response.status_code == 303
        assert response.location == f"{ROOT}/mail?state=failed&error=5.1.1&before=999&trail=0"
        page = text_of(client.get(response.location))
        assert "No message is ticked. Tick some; with a filter you can also choose all that match." in page
        assert "Error: 5.1.1" in page

    def test_back_from_the_question(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """With the ticks as they were, and on the same page."""
        ticked = [ids["ann@example.org"], ids["user3@gone.example.org"]]
        page = question(client, action="requeue", id=ticked, state="failed", before=10_000).text
        back = re.search(r'<a class="button" href="([^"]+)">Go back', page)
        assert back
        listed = client.get(back[1].replace("&amp;", "&")).text
        assert 'name="before" value="10000"' in listed
        checked = {int(id) for id in re.findall(r'name="id" value="(\d+)"[^>]* checked>', listed)}
        assert checked == set(ticked)
