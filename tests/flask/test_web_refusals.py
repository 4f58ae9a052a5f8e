"""Who refuses mail, and in which words: the relay is named, and is not taken for the recipients' domain."""

from __future__ import annotations

import sqlalchemy as sa
from flask.testing import FlaskClient

from outbox.delivery.states import State
from outbox.models import OutboxWorker
from tests.flask.test_web import ROOT, text_of
from tests.servers.databases import Database
from tests.web.seed import REFUSAL, REFUSED, Mail, refuse_sender, write
from tests.web.site import site

DOWN = "connect: [Errno 111] Connection refused"
WORDS = "The email account that you tried to reach does not exist."


def relay_down(seeded: Database) -> None:
    """As the worker reports it."""
    transport = {"name": "smtp.example.com:587", "state": "open", "error": DOWN, "next_probe_seconds": 24.0}
    with seeded.engine.begin() as connection:
        connection.execute(sa.update(OutboxWorker).values(health={"transport": transport}))


class TestFailures:
    """The page of failures says first what refuses mail now, also where no message failed of it."""

    def test_nothing_refused(self, seeded: Database) -> None:
        """No warning where there is none."""
        made = site(seeded.url, OUTBOX_ALARM_REFUSED=0)
        page = made.app.test_client().get(f"{ROOT}/failures?window=1m")
        assert "Mail is being refused" not in text_of(page)
        assert '<p class="notice good">No message failed for good in this time.' in page.text
        made.close()

    def test_a_sender(self, client: FlaskClient, seeded: Database) -> None:
        """One that the relay refuses while it takes other mail."""
        with seeded.engine.begin() as connection:
            refuse_sender(connection)
        words = text_of(client.get(f"{ROOT}/failures"))
        assert "Mail is being refused or held up now." in words
        assert "Stopped: sender flasky@example.com" in words
        assert f"smtp.example.com:587 refuses this sender while it takes other mail: {REFUSAL}." in words

    def test_the_whole_relay(self, client: FlaskClient, seeded: Database) -> None:
        """Its circuit breaker is open; a window without failures is not called good."""
        relay_down(seeded)
        page = client.get(f"{ROOT}/failures?window=1m")
        assert "Relay smtp.example.com:587: down: Connection refused." in text_of(page)
        assert "No message failed for good in this time." in text_of(page)
        assert 'class="notice good"' not in page.text

    def test_everything(self, client: FlaskClient, seeded: Database) -> None:
        """How much of the last attempts, by whom, for whose mail, and its words."""
        with seeded.engine.begin() as connection:
            for number in range(60):
                write(connection, Mail({f"u{number}@big.example.org": State.FAILED}, tries=[REFUSED], reason="refused"))
        words = text_of(client.get(f"{ROOT}/failures"))
        assert "attempts in the last 15 min were refused" in words
        assert f"by smtp.example.com:587 for mail to big.example.org: 550 5.1.1 {WORDS}" in words


class TestWhoReplied:
    """A reply stands beside the name of the relay that gave it."""

    def test_a_group(self, client: FlaskClient) -> None:
        """On both pages; the column of domains is that of the recipients."""
        for path in ("/", "/failures"):
            words = text_of(client.get(ROOT + path))
            assert "To domain Relay and its reply" in words, path
            assert f"gone.example.org smtp.example.com:587 : {WORDS}" in words, path

    def test_a_message(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Its last reply, and each attempt; words of ours are not called a reply."""
        words = text_of(client.get(f"{ROOT}/mail/{ids['ann@example.org']}"))
        assert words.count(f"smtp.example.com:587 replied 550 5.1.1 {WORDS}") == 2
        assert "At smtp.example.com:587 Connection refused" in words
        assert "the server" not in words
