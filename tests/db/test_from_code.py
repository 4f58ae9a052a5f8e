"""`mail.find` and `mail.cancel` on each database, in the caller's transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox import Message, MessageError, Outbox
from outbox.delivery.states import State
from outbox.models import OutboxAudit, OutboxDelivery
from outbox.store.types import DbNow
from tests.db.test_enqueue import ORDERS
from tests.servers.databases import Database


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    return database.engine


def hello(*recipients: str) -> Message:
    return Message("Hello", list(recipients) or ["ann@example.org"], "x")


def states(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(OutboxDelivery.state).order_by(OutboxDelivery.id)).scalars())


@pytest.mark.parametrize("named", ["message", "id", "key", "deliveries", "found"])
def test_cancel_is_part_of_the_transaction(engine: sa.Engine, session: Session, outbox: Outbox, named: str) -> None:
    """Rolled back, the mail is queued as before; committed, it is cancelled, and the audit says by whom."""
    queued = outbox.enqueue(hello("a@example.org", "b@example.org"), key="report")
    session.commit()
    arguments: dict[str, Any] = {
        "message": {"message": queued},
        "id": {"message": queued.id},
        "key": {"key": "report"},
        "deliveries": {"delivery_ids": [one.id for one in queued.deliveries]},
        "found": {"message": outbox.find(key="report")},
    }[named]
    assert outbox.cancel(**arguments) == 2
    session.rollback()
    assert states(engine) == ["queued", "queued"]
    assert outbox.cancel(**arguments, by="ann", note="booking 7 was cancelled") == 2
    session.commit()
    assert states(engine) == ["cancelled", "cancelled"]
    assert outbox.cancel(**arguments) == 0
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxAudit.action, OutboxAudit.actor, OutboxAudit.note, OutboxAudit.count))
        assert [tuple(row) for row in rows] == [("cancel", "ann", "booking 7 was cancelled", 2)]


@pytest.mark.parametrize("state", [State.SENDING, State.SENT, State.FAILED, State.UNCERTAIN])
def test_only_what_is_queued_is_cancelled(engine: sa.Engine, session: Session, outbox: Outbox, state: State) -> None:
    """What a worker holds may be on its way; a failure stays for people to see."""
    queued = outbox.enqueue(hello())
    session.commit()
    live = {"token": 7} if state is State.SENDING else {"due_at": None, "finished_at": DbNow()}
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).values(state=state.value, **live))
    assert outbox.cancel(queued) == 0
    session.commit()
    assert states(engine) == [state.value]


def test_find(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """By key or id, with what the transaction did so far; None for what there is not."""
    assert outbox.find(key="report") is None
    queued = outbox.enqueue(hello("a@example.org", "b@example.org"), key="report", metadata={"order": 7})
    found = outbox.find(key="report")
    assert found is not None
    assert found is queued
    assert found.metadata_ == {"order": 7}
    assert [(one.recipient, one.state) for one in found.deliveries] == [
        ("a@example.org", "queued"),
        ("b@example.org", "queued"),
    ]
    outbox.cancel(found)
    again = outbox.find(id=found.id)
    assert again is not None
    assert [one.state for one in again.deliveries] == ["cancelled", "cancelled"]
    session.rollback()
    assert outbox.find(key="report") is None


def test_find_sees_what_others_committed(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """What the session knew of it is read anew."""
    queued = outbox.enqueue(hello(), key="report")
    session.commit()
    assert [one.state for one in queued.deliveries] == ["queued"]
    session.commit()
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).values(state="sent", due_at=None, finished_at=DbNow()))
    found = outbox.find(id=queued.id)
    assert found is not None
    assert [one.state for one in found.deliveries] == ["sent"]


def test_find_flushes_nothing(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """An object that is not complete yet stays as it is."""

    class Order:
        number: int | None = None

    ORDERS.create(engine)
    registry = sa.orm.registry()
    registry.map_imperatively(Order, ORDERS)
    session.add(Order())  # without its number, which it must have
    assert outbox.find(key="report") is None
    session.expunge_all()
    registry.dispose()


def test_only_of_this_environment(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """A key is another's there, and nothing of it is changed."""
    queued = outbox.enqueue(hello(), key="report")
    session.commit()
    staging = Flask("staging")
    staging.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_ENVIRONMENT="staging")
    outbox.init_app(staging, session=session)
    with staging.app_context():
        assert outbox.find(key="report") is None
        assert outbox.find(id=queued.id) is None
        assert outbox.cancel(key="report") == 0
        assert outbox.cancel(queued) == 0
    session.commit()
    assert states(engine) == ["queued"]


def test_without_a_session(database: Database) -> None:
    """In a transaction of its own: what is found can be read afterwards, and a change is committed."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL=database.url)
    outbox = Outbox(app)
    with app.app_context():
        outbox.enqueue(hello(), key="report")
        found = outbox.find(key="report")
        assert found is not None
        assert (found.subject, found.deliveries[0].state) == ("Hello", "queued")
        assert outbox.cancel(key="report") == 1
    assert states(database.engine) == ["cancelled"]
    outbox.database(app).dispose()


def test_a_cancelled_message_keeps_its_key(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """It was the message of that event."""
    queued = outbox.enqueue(hello(), key="report")
    outbox.cancel(key="report")
    assert outbox.enqueue(hello(), key="report") is queued
    session.commit()
    assert states(engine) == ["cancelled"]


@pytest.mark.usefixtures("session")
def test_what_is_meant_has_to_be_said(outbox: Outbox) -> None:
    """Nothing, or two things, are errors; so is no time."""
    for call in (outbox.find, outbox.cancel):
        with pytest.raises(MessageError, match="is not named"):
            call()
    with pytest.raises(MessageError, match="more than one"):
        outbox.find(key="report", id=1)
    with pytest.raises(MessageError, match="more than one"):
        outbox.cancel(7, key="report")
    with pytest.raises(MessageError, match=r"send_at: is None\. Give an aware datetime, or call send_now"):
        outbox.reschedule(7, send_at=None)  # type: ignore[arg-type]
    assert outbox.reschedule(7, send_at=datetime.now(UTC) + timedelta(days=1)) == 0


def test_an_address_is_suppressed_in_the_transaction(engine: sa.Engine, session: Session, outbox: Outbox) -> None:
    """Rolled back, nothing has happened; committed, it is on the list, and the audit says by whom."""
    assert outbox.suppressions.add("Ann@Example.org", "kind:news")
    assert outbox.suppressions.stops("ann@example.org", kind="news") is not None
    session.rollback()
    assert outbox.suppressions.find("ann@example.org") == []
    until = datetime.now(UTC) + timedelta(days=30)
    assert outbox.suppressions.add("Ann@Example.org", "kind:news", until=until, note="moved", by="ben")
    assert not outbox.suppressions.add("ann@example.org", "kind:news", until=until, note="moved", by="ben")
    session.commit()
    [entry] = outbox.suppressions.find("ann@EXAMPLE.org")
    assert (entry.scope, entry.reason, entry.note, entry.actor) == ("kind:news", "manual", "moved", "ben")
    assert entry.until is not None
    assert abs(entry.until - until) < timedelta(minutes=1)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxAudit.action, OutboxAudit.actor, OutboxAudit.note)).all()
    assert [tuple(row) for row in rows] == [("suppress", "ben", "moved")] * 2
    assert outbox.suppressions.remove("ann@example.org", "all") == 0
    assert outbox.suppressions.remove("ann@example.org", reason="bounced") == 0
    assert outbox.suppressions.remove("ANN@example.org") == 1
    session.rollback()
    assert len(outbox.suppressions.find("ann@example.org")) == 1


def test_what_stops_a_message(session: Session, outbox: Outbox) -> None:
    """By the rules of a claim: the scope covers it, and security passes a bounce."""
    outbox.kind("news", category="subscription")
    outbox.kind("reset", category="security")
    outbox.suppressions.add("ann@example.org", reason="bounced")
    outbox.suppressions.add("ben@example.org", "category:subscription", reason="complained")

    def stopped(address: str) -> list[bool]:
        kinds = ("news", "reset", "unknown", None)
        return [outbox.suppressions.stops(address, kind=kind) is not None for kind in kinds]

    assert stopped("ann@example.org") == [True, False, True, True]
    assert stopped("ben@example.org") == [True, False, False, False]
    assert outbox.suppressions.stops("ben@example.org", category="subscription") is not None
    assert stopped("cy@example.org") == [False] * 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"address": "nobody"}, "address"),
        ({"scope": "everything"}, "all, category:NAME or kind:NAME"),
        ({"reason": "dislike"}, "reason: 'dislike' is not a reason of a suppression"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "until: .* is past"),
        ({"until": datetime(2099, 1, 1)}, "naive"),  # noqa: DTZ001
    ],
)
def test_what_can_not_be_suppressed(session: Session, outbox: Outbox, given: dict[str, Any], said: str) -> None:
    """The transaction stays usable."""
    with pytest.raises(MessageError, match=said):
        outbox.suppressions.add(**{"address": "ann@example.org", **given})
    assert outbox.suppressions.find("ann@example.org") == []
    session.commit()


def test_without_a_session_it_is_committed_at_once(database: Database) -> None:
    """In a transaction of its own, as mail is."""
    app, mail = Flask("plain"), Outbox()
    app.config.update(OUTBOX_DATABASE_URL=database.url, SECRET_KEY="x", MAIL_DEFAULT_SENDER="a@example.org")
    mail.init_app(app)
    with app.app_context():
        assert mail.suppressions.add("ann@example.org")
        assert [one.address for one in mail.suppressions.find("ann@example.org")] == ["ann@example.org"]
