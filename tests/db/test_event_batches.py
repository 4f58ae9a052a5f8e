"""Many events in one call, as a provider reports them: each is tied to its own delivery, and counts once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import operations
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.states import State
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxMessage
from outbox.operations import event_log, event_ties, events
from outbox.store.posting import Posting
from outbox.store.types import DbNow
from tests.db.mails import put

KEY = b"key"
SETTINGS = SimpleNamespace(address_digest_key=KEY, bounce_suppression_seconds=900.0)
MESSAGES, RECIPIENTS = 12, 5


def reported(id: str, recipient: str, **tie: str) -> ReportedEvent:
    return ReportedEvent(EventType.DELIVERED, "sendgrid", id, recipient=recipient, proven=True, **tie)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1_000, 3])
def test_each_is_tied_to_its_own(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """By relay's id or Message-ID, among messages to several; also where there are more than are read at once."""
    monkeypatch.setattr(event_ties, "_MOST_TIED", most * RECIPIENTS)
    ids, batch, wanted = [], [], []
    for number in range(MESSAGES):
        to = [f"r{number}.{one}@example.org" for one in range(RECIPIENTS)]
        ids.append(put(engine, *to, state=State.SENT, posting=Posting(address_key=KEY)))
    with Session(engine) as session, session.begin():
        for number, of_one in enumerate(ids):
            for delivery in of_one:
                attempt = {"phase": "dot", "verdict": "accepted", "reply": "", "duration": 0.1, "counted": False}
                session.add(OutboxAttempt(delivery_id=delivery, at=DbNow(), relay_id=f"relay{number}", **attempt))
        query = sa.select(OutboxDelivery.id, OutboxDelivery.recipient, OutboxMessage.message_id)
        rows = session.execute(query.join(OutboxMessage, OutboxMessage.id == OutboxDelivery.message_id)).all()
    for id_, recipient, message_id in rows:
        number = recipient[1:].partition(".")[0]
        batch += [
            reported(f"a{id_}", recipient, message_id=message_id),
            reported(f"b{id_}", recipient, relay_id=f"relay{number}"),
            reported(f"c{id_}", recipient, relay_id="relay0" if number != "0" else "relay1"),  # of another message
            reported(f"d{id_}", "stranger@example.net", message_id=message_id),
        ]
        wanted += [id_, id_, None, None]
    assert [one.delivery_id for one in events.record(engine, SETTINGS, batch)] == wanted
    assert [one.id for one in events.record(engine, SETTINGS, batch)] == [None] * len(batch)


def test_ids_that_differ_in_case_are_two(engine: sa.Engine) -> None:
    """Providers write them in base64."""
    batch = [reported(id_, "ann@example.org") for id_ in ("aBc", "abc", "aBc")]
    assert [one.id is not None for one in events.record(engine, SETTINGS, batch)].count(True) == 2


def test_figures_by_type_and_source(engine: sa.Engine) -> None:
    """Of the last day, in all figures alike; counting stops at the cap."""
    events.record(engine, SETTINGS, [reported(f"e{number}", "ann@example.org") for number in range(3)])
    events.record(engine, SETTINGS, [ReportedEvent(EventType.BOUNCED, "report", "b", recipient="ann@example.org")])
    with engine.connect() as connection:
        seen = operations.gauges(connection, dead_after=20.0)
        assert operations.status(connection, dead_after=20.0).events_last_day == {"delivered": 3, "bounced": 1}
        assert sum(event_log.lately(connection, 1, 60.0).values()) == 2
    assert seen.events == {(EventType.DELIVERED, "sendgrid"): 3, (EventType.BOUNCED, "report"): 1}
