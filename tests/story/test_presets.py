"""A provider with idempotency keys: a message that is sent again because nobody can know carries the same key."""

from __future__ import annotations

import re

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.wire.actions import CLOSE, Take, turns
from tests.wire.server import SmtpServer


def test_the_same_key_after_an_unknown_outcome(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Of two copies that the provider gets it can tell that they are one."""
    with SmtpServer({"dot": turns(Take(CLOSE))}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_PRESET="resend")
        (message_id,) = stage.send()
        stage.fork()
        assert stage.settle() == {"sent": 1}
        first, second = (mail.content for mail in server.messages)
    found = re.match(rb"Resend-Idempotency-Key: \w{64}\r\n", first)
    assert found is not None
    assert first == second
    assert message_id.encode() in first
