"""A worker takes out of the database what sensitive mail said."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.models import OutboxMessage
from outbox.store.enqueue import Posting
from tests.db.mails import put
from tests.story.stage import Relay, Stage, until


def test_sensitive_mail_is_redacted_after_it_was_sent(stage: Stage, relay: Relay) -> None:
    """What was sent a minute ago loses its text soon after a worker started; other kinds and what failed do not."""
    engine = stage.database.worker_engine
    for kind, state in (("reset", State.SENT), ("news", State.SENT), ("reset", State.FAILED)):
        put(engine, state=state, ago=60.0, posting=Posting(kind=kind), message_id=f"<{kind}.{state}@example.org>")
    stage.start(OUTBOX_SENSITIVE_KINDS="reset, code")
    until(lambda: _redacted(engine), "the redaction")
    assert _redacted(engine) == ["<reset.sent@example.org>"]


def _redacted(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        found = sa.select(OutboxMessage.message_id).where(
            OutboxMessage.redacted_at.is_not(None), OutboxMessage.skeleton == b""
        )
        return list(connection.execute(found).scalars())
