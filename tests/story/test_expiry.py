"""A relay that defers whatever it is offered, and a mail that expires: one last attempt comes before it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import until
from tests.wire.server import SmtpServer

LIFE = timedelta(seconds=8)


@pytest.mark.parametrize("reply", ["451 4.3.0 not now", "451 4.7.1 Greylisted, try again in 2 hours"])
def test_the_last_attempt_comes_before_the_expiry(reply: str, sqlite_database: Database, make_stage: MakeStage) -> None:
    """The next attempt would come after the expiry, by the outbox's backoff or the relay's wish: it comes before it."""
    with SmtpServer({"rcpt": reply}) as server:
        stage = make_stage(
            sqlite_database, server.port, OUTBOX_RETRY_FIRST_SECONDS="60", OUTBOX_RETRY_MAX_SECONDS="600"
        )
        stage.start()
        expires_at = datetime.now(UTC) + LIFE
        with stage.transaction() as session:
            stage.outbox.enqueue(
                Message("Reset", recipients=["a@example.org"], body="x"), session, expires_at=expires_at
            )
            session.commit()
        until(lambda: stage.states()["failed"], "the mail to be given up", 20)
        (row,) = stage.deliveries()
        first, last = stage.attempts()
        assert (row.reason, row.attempts) == ("expired", 2)
        assert expires_at - LIFE / 2 < last.at < expires_at
        assert last.at - first.at > LIFE / 4
