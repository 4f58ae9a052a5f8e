"""Each message that is late is warned of once, the same on every database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxEvent
from outbox.operations.delays import Delays
from outbox.settings import Settings
from outbox.store.types import DbNow
from tests.db.mails import put

SETTINGS = Settings.from_config({"OUTBOX_DATABASE_URL": "sqlite://", "OUTBOX_DELAY_WARNING_SECONDS": 3600})
ALARMS = operations.Alarms.of(SETTINGS)


def attempted(engine: sa.Engine, id: int, ago: float) -> None:
    values: dict[str, Any] = {"delivery_id": id, "phase": "rcpt", "verdict": "transient", "reply": "", "duration": 0.1}
    with engine.begin() as connection:
        more = {"at": DbNow(-ago), "counted": True, "fenced": False}
        connection.execute(sa.insert(OutboxAttempt).values(**values, **more))


def test_once_for_each_message_that_is_late(engine: sa.Engine) -> None:
    """Due or first attempted an hour ago; not what is scheduled, young, sent or another environment's. Then once."""
    waits, _ = put(engine, "waits@example.org", "too@example.org", ago=4000, message_id="<1@x>")
    [deferred] = put(engine, "deferred@example.org", ago=4000, message_id="<2@x>", delivery={"due_at": DbNow(600)})
    attempted(engine, deferred, 3900)
    put(engine, "later@example.org", ago=4000, message_id="<3@x>", delivery={"due_at": DbNow(600)})
    [young] = put(engine, "young@example.org", ago=60, message_id="<4@x>")
    attempted(engine, young, 30)
    put(engine, "sent@example.org", ago=4000, message_id="<5@x>", state=State.SENT)
    late, other = (Delays(engine, SETTINGS, environment, 3600.0) for environment in ("", "other"))
    assert other.run() == 0
    assert (late.run(), late.run()) == (2, 0)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxEvent.delivery_id, OutboxEvent.type).order_by(OutboxEvent.id)).all()
        seen = operations.status(connection, dead_after=20.0, alarms=ALARMS)
    assert [tuple(row) for row in rows] == [(waits, "delayed"), (deferred, "delayed")]
    assert seen.late == 2
    assert "delayed" in seen.problem_kinds
    assert any("2 messages are still queued 1 h after they were due" in words for words in seen.problems), seen.problems
    with engine.begin() as connection:
        gone = {"state": State.SENT.value, "due_at": None, "finished_at": DbNow()}
        connection.execute(sa.update(OutboxDelivery).values(gone))
        assert operations.status(connection, dead_after=20.0, alarms=ALARMS).late == 0


def test_who_listens_is_told(engine: sa.Engine) -> None:
    """Handlers of `delayed`, in the transaction of the event."""

    class Listens:
        heard: list[Any] = []

        def names(self, type: str, kind: str | None) -> list[str]:
            return ["webhook:crm"] if type == "delayed" else []

        def recorded(self, events: Any) -> None:
            self.heard += events

    put(engine, "waits@example.org", ago=4000)
    listens = Listens()
    Delays(engine.execution_options(outbox_listeners=listens), SETTINGS, "", 3600.0).run()
    with engine.connect() as connection:
        assert operations.effects.counts(connection, "", 10)[0].name == "webhook:crm"
    assert len(listens.heard) == 1
