"""Sensitive mail loses what it said once it was sent, the same on every database."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxBlob, OutboxDelivery, OutboxMessage
from outbox.operations import Filter, Redactor, redact
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import SKELETON, put

KINDS = ("reset", "code")
RESET = Posting(kind="reset")


def sent(engine: sa.Engine, *recipients: str, ago: float = 60.0, **more: Any) -> list[int]:
    return put(engine, *recipients, **{"state": State.SENT, "ago": ago, "posting": RESET, **more})


def redacted(engine: sa.Engine) -> list[int]:
    """The deliveries whose text is gone."""
    with engine.connect() as connection:
        return sorted(row.id for row in operations.find(connection, Filter(redacted=True)))


def take_to(engine: sa.Engine, id: int, state: State, ago: float = 60.0) -> None:
    with engine.begin() as connection:
        values = {"state": state.value, "due_at": None, "finished_at": DbNow(-ago)}
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id == id).values(values))


def test_what_goes_and_what_stays(engine: sa.Engine) -> None:
    """Text, big parts and headers that may hold tokens go; subject, envelope, size and history stay."""
    [id] = sent(engine, "ann@example.org", subject="Reset", blob=b"secret" * 1000)
    with engine.begin() as connection:
        headers = [["Subject", "Reset"], ["List-Unsubscribe", "<https://example.org/u/token>"]]
        connection.execute(sa.update(OutboxMessage).values(headers=headers))
        before = operations.show(connection, id)
    assert Redactor(engine, KINDS).run() == 1
    with engine.connect() as connection:
        detail = operations.show(connection, id)
        assert before is not None
        assert detail is not None
        assert detail.redacted_at is not None
        assert detail.headers == (("Subject", "Reset"),)
        assert (detail.subject, detail.size, detail.recipient) == (before.subject, before.size, "ann@example.org")
        assert operations.wire(connection, detail.message_id) == b""
        assert connection.execute(sa.select(sa.func.count()).select_from(OutboxBlob)).scalar() == 0


def test_only_sensitive_kinds(engine: sa.Engine) -> None:
    """Other kinds, and mail without one, keep their text."""
    sent(engine, posting=Posting(kind="news"), message_id="<a@x>")
    sent(engine, posting=Posting(), message_id="<b@x>")
    [code] = sent(engine, posting=Posting(kind="code"), message_id="<c@x>")
    assert Redactor(engine, KINDS).run() == 1
    assert redacted(engine) == [code]


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.FAILED, State.UNCERTAIN, State.CANCELLED])
def test_what_was_not_sent_keeps_its_text(engine: sa.Engine, state: State) -> None:
    """What may still be sent, or waits for a person, is not touched."""
    sent(engine, state=state)
    assert Redactor(engine, KINDS).run() == 0


def test_all_recipients_must_be_done_with(engine: sa.Engine) -> None:
    """While one recipient's mail failed, its text is kept for all; marked as sent or cancelled, it goes."""
    ids = sent(engine, "a@example.org", "b@example.org", "c@example.org")
    for id in ids[1:]:
        take_to(engine, id, State.FAILED)
    redactor = Redactor(engine, KINDS)
    assert redactor.run() == 0
    take_to(engine, ids[1], State.SENT, ago=20.0)
    assert redactor.run() == 0
    take_to(engine, ids[2], State.CANCELLED, ago=16.0)
    assert Redactor(engine, KINDS).run() == 1
    assert redacted(engine) == ids


def test_what_was_just_sent_waits(engine: sa.Engine) -> None:
    """A mail is looked at a moment after its end, and by then found."""
    [id] = sent(engine, ago=0.0)
    redactor = Redactor(engine, KINDS, lag=30.0)
    assert redactor.run() == 0
    take_to(engine, id, State.SENT, ago=29.9)
    assert any(redactor.run() for _ in range(10_000))
    assert redacted(engine) == [id]


def test_history_is_gone_through_in_pages(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended before the worker began is found, the newest first, each time a bit, equal ends among it."""
    monkeypatch.setattr(redact, "PAGE", 2)
    ids = [sent(engine, ago=100.0 - n // 3, message_id=f"<{n}@x>")[0] for n in range(7)]
    redactor = Redactor(engine, KINDS)
    found = []
    for _ in range(5):
        redactor.run(seconds=0.0)
        found.append(len(redacted(engine)))
    assert found[-1] == 0  # no time: nothing of history
    redactor.run(seconds=60.0)
    assert redacted(engine) == ids


def test_new_mail_is_found_while_history_waits(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends while a worker runs is redacted at its next run, page after page."""
    monkeypatch.setattr(redact, "PAGE", 2)
    redactor = Redactor(engine, KINDS, lag=0.0)
    redactor.run(seconds=0.0)
    ids = [sent(engine, ago=0.0, message_id=f"<{n}@x>")[0] for n in range(5)]
    with engine.begin() as connection:  # all at once, as workers record them
        newest = connection.execute(sa.select(sa.func.max(OutboxDelivery.finished_at))).scalar_one()
        connection.execute(sa.update(OutboxDelivery).values(finished_at=newest))
    assert redactor.run(seconds=0.0) == 5
    assert redacted(engine) == ids
    assert redactor.run(seconds=60.0) == 0


def test_it_cannot_be_requeued(engine: sa.Engine) -> None:
    """There is nothing left to send, so a requeue leaves it alone."""
    ids = sent(engine, "a@example.org", "b@example.org")
    take_to(engine, ids[1], State.CANCELLED)
    Redactor(engine, KINDS).run()
    with engine.begin() as connection:
        assert operations.requeue(connection, Filter(ids=tuple(ids)), by="chief") == 0


def test_parts_that_others_need_stay(engine: sa.Engine) -> None:
    """A big part that another message has as well is kept for it."""
    sent(engine, blob=b"logo" * 1000, message_id="<a@x>")
    [other] = sent(engine, blob=b"logo" * 1000, posting=Posting(), message_id="<b@x>")
    Redactor(engine, KINDS).run()
    with engine.connect() as connection:
        detail = operations.show(connection, other)
        assert detail is not None
        assert operations.wire(connection, detail.message_id).startswith(SKELETON)
