"""The canary of a batch: the others wait, in the database, until it has ended well or a person says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from outbox import Message, MessageError, Outbox
from outbox.models import OutboxDelivery, OutboxEvent
from outbox.operations import pauses
from outbox.operations.batch_rounds import Rounds
from outbox.operations.batches import named
from outbox.store.types import DbNow
from tests.servers.databases import Database


@pytest.fixture
def mail(database: Database) -> Iterator[Outbox]:
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="news@example.org")
    made = Outbox()
    made.kind("news", priority="bulk", canary=0.1, canary_limit=0.1)
    made.init_app(app, session=scoped_session(sessionmaker(database.engine)))
    with app.app_context():
        yield made


def fill(mail: Outbox, count: int, **options: Any) -> None:
    batch = mail.batch("news-7", **{"kind": "news", **options})
    letters = ((str(n), Message("News", [f"reader{n}@example.net"], "Hello.")) for n in range(count))
    batch.enqueue(letters, portion=30)


def look(mail: Outbox) -> str | None:
    """A round of two workers; the state of the canary after it."""
    for _ in range(2):
        Rounds(mail.database(), "", 0.0, lambda: 0.0).run()
    with mail.database().connect() as connection:
        found = named(connection, "news-7", "")
    return found and found.canary


def due(database: Database) -> list[int]:
    """What a claim can see."""
    with Session(database.engine) as session:
        seen = sa.select(OutboxDelivery.id).where(OutboxDelivery.state == "queued", OutboxDelivery.due_at <= DbNow())
        return list(session.scalars(seen.order_by(OutboxDelivery.id)))


def end(database: Database, ids: list[int], state: str, reason: str | None = None) -> None:
    values = {"state": state, "due_at": None, "finished_at": DbNow()} if state != "queued" else {"due_at": DbNow(600.0)}
    with database.engine.begin() as connection:
        connection.execute(
            sa.update(OutboxDelivery)
            .where(OutboxDelivery.id.in_(ids))
            .values(**values, reason=reason, updated_at=DbNow())
        )


@pytest.mark.parametrize("expected", [None, 250])
def test_the_others_follow_one_that_is_fine(mail: Outbox, database: Database, expected: int | None) -> None:
    """A tenth goes first, known before or when all is enqueued; what is refused within the limit stops nothing."""
    fill(mail, 250, expected=expected)
    first = due(database)
    assert len(first) == 25
    assert look(mail) == "running"
    end(database, first[:2], "failed", "refused")
    end(database, first[2:20], "sent")
    assert (look(mail), len(due(database))) == ("running", 5)
    end(database, first[20:], "sent")
    assert (look(mail), len(due(database))) == ("released", 225)


@pytest.mark.parametrize(("state", "reason"), [("failed", "refused"), ("queued", "deferred")])
def test_too_many_that_go_wrong_pause_it(mail: Outbox, database: Database, state: str, reason: str) -> None:
    """As a pause with its reason, which a person lifts; then the others are sent."""
    fill(mail, 250)
    first = due(database)
    end(database, first[:3], state, reason)
    assert look(mail) == "failed"
    with database.engine.begin() as connection:
        (pause,) = pauses.active(connection)
        assert (str(pause), pause.by) == ("batch news-7", "canary")
        assert pause.reason.startswith("of the first 25 deliveries ")
        assert pause.batch_ids
    end(database, first[3:], "sent")
    assert (look(mail), due(database)) == ("failed", [])
    with database.engine.begin() as connection:
        pauses.resume(connection, pauses.What.BATCH, "news-7", by="ann")
    assert (look(mail), len(due(database))) == ("released", 225)


@pytest.mark.parametrize(("bounced", "state"), [(2, "released"), (3, "failed")])
def test_it_waits_for_bounces(mail: Outbox, database: Database, bounced: int, state: str) -> None:
    """As long as its kind says, though all of it was sent; too many of them stop it at once."""
    mail.kind("slow", canary=0.1, canary_wait=600.0)
    fill(mail, 250, kind="slow")
    first = due(database)
    end(database, first, "sent")
    assert look(mail) == "running"
    with database.engine.begin() as connection:
        for id in first[:bounced]:
            event = {"type": "bounced", "source": "report", "event_id": str(id), "delivery_id": id}
            connection.execute(sa.insert(OutboxEvent).values(**event, at=DbNow(), recorded_at=DbNow()))
    assert look(mail) == ("failed" if state == "failed" else "running")
    with database.engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id.in_(first)).values(updated_at=DbNow(-601)))
    assert look(mail) == state
    assert len(due(database)) == (225 if state == "released" else 0)


def test_what_a_canary_does_not_judge(mail: Outbox, database: Database) -> None:
    """That the relay is down, or an address is suppressed, says nothing of the others; cancelling ends it."""
    fill(mail, 250)
    first = due(database)
    end(database, first[:10], "failed", "suppression")
    end(database, first[10:], "queued", "transport")
    assert look(mail) == "running"
    assert mail.batch("news-7").cancel() == 240
    assert look(mail) == "released"
    with pytest.raises(MessageError, match="canary"):
        fill(mail, 1, send_at=mail._bound().now())
