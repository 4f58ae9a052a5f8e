"""`mail.send_now` and `mail.reschedule`, in the caller's transaction; the Date of scheduled mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from outbox import Message, MessageError, Outbox
from outbox.models import OutboxAudit, OutboxDelivery
from tests.flask.conftest import Committed

WEEK = timedelta(days=7)


def hello(*recipients: str) -> Message:
    return Message("Hello", recipients=list(recipients) or ["ann@example.org"], body="b")


def date(committed: Committed) -> datetime:
    return parsedate_to_datetime(str(committed.mail()["Date"]))


def close(first: datetime | None, second: datetime) -> bool:
    return first is not None and abs(first - second) < timedelta(seconds=60)


def due(engine: sa.Engine) -> list[datetime | None]:
    with Session(engine) as session:
        return list(session.scalars(sa.select(OutboxDelivery.due_at).order_by(OutboxDelivery.id)))


@pytest.mark.parametrize("many", [False, True])
def test_scheduled_mail_is_dated_to_when_it_is_due(
    app: Flask, db: scoped_session[Session], outbox: Outbox, committed: Committed, many: bool
) -> None:
    """A reader sees when it came, not when it was planned."""
    at = datetime.now(UTC) + WEEK
    with app.app_context():
        message = hello()
        if many:
            outbox.enqueue_many([message], send_at=at)
        else:
            outbox.enqueue(message, send_at=at)
        db.commit()
    assert close(date(committed), at)
    assert message.date == at.timestamp()


@pytest.mark.parametrize("many", [False, True])
def test_a_time_that_is_past_dates_nothing_back(
    app: Flask, db: scoped_session[Session], outbox: Outbox, committed: Committed, many: bool
) -> None:
    """The message is due at once, and dated to now."""
    past = datetime.now(UTC) - WEEK
    with app.app_context():
        outbox.enqueue_many([hello()], send_at=past) if many else outbox.enqueue(hello(), send_at=past)
        db.commit()
    assert close(date(committed), datetime.now(UTC))


def test_the_same_object_scheduled_again_gets_its_own_date(
    app: Flask, db: scoped_session[Session], outbox: Outbox, committed: Committed
) -> None:
    """Flask-Mail dates a message object when it is first sent: that is not the application's date."""
    with app.app_context():
        message = hello()
        outbox.send(message)
        db.rollback()
        outbox.enqueue(message, send_at=datetime.now(UTC) + WEEK)
        db.commit()
    assert close(date(committed), datetime.now(UTC) + WEEK)


@pytest.mark.parametrize("named", ["message", "id", "key", "deliveries"])
def test_send_now_is_part_of_the_callers_transaction(
    app: Flask, engine: sa.Engine, db: scoped_session[Session], outbox: Outbox, committed: Committed, named: str
) -> None:
    """By what `enqueue` returned, its id, its key, or delivery ids; rolled back, nothing has changed."""
    at = datetime.now(UTC) + WEEK
    with app.app_context():
        queued = outbox.enqueue(hello("a@example.org", "b@example.org"), send_at=at, key="report")
        db.commit()
        ids = [one.id for one in queued.deliveries]
        arguments: dict[str, object] = {
            "message": {"message": queued},
            "id": {"message": queued.id},
            "key": {"key": "report"},
            "deliveries": {"delivery_ids": ids},
        }[named]
        assert outbox.send_now(**arguments) == 2  # type: ignore[arg-type]
        db.rollback()
        assert all(close(moment, at) for moment in due(engine))
        assert outbox.send_now(**arguments, by="ann", note="asked for") == 2  # type: ignore[arg-type]
        db.commit()
    assert all(close(moment, datetime.now(UTC)) for moment in due(engine))
    assert close(date(committed), datetime.now(UTC))
    with Session(engine) as session:
        rows = session.execute(sa.select(OutboxAudit.action, OutboxAudit.actor, OutboxAudit.note)).all()
    assert [tuple(row) for row in rows] == [("rewrite-date", "ann", None), ("send-now", "ann", "asked for")]


def test_reschedule_moves_it(
    app: Flask, engine: sa.Engine, db: scoped_session[Session], outbox: Outbox, committed: Committed
) -> None:
    """To any time, also mail that is due already; what is sent or unknown is nothing to move."""
    at = datetime.now(UTC) + WEEK
    with app.app_context():
        queued = outbox.enqueue(hello())
        assert outbox.reschedule(queued, send_at=at) == 1
        db.commit()
        assert outbox.send_now(key="unknown") == 0
        assert outbox.reschedule(queued.id + 7, send_at=at) == 0
    assert all(close(moment, at) for moment in due(engine))
    assert close(date(committed), at)


def test_what_is_meant_has_to_be_said(app: Flask, outbox: Outbox) -> None:
    """Nothing, two things, or a time without zone are errors."""
    with app.app_context():
        with pytest.raises(MessageError, match="is not named"):
            outbox.send_now()
        with pytest.raises(MessageError, match="more than one"):
            outbox.send_now(7, key="x")
        with pytest.raises(MessageError, match="naive"):
            outbox.reschedule(7, send_at=datetime(2030, 1, 1))  # noqa: DTZ001
