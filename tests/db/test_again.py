"""A message that was sent, sent once more; one message paused; a worker asked to end: on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy

import flask_mail
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import operations
from outbox.delivery.states import State
from outbox.extension.draft import draft_of
from outbox.message.compose import compose
from outbox.operations import Ask, Filter
from outbox.operations.pauses import What
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.store.enqueue import Posting, enqueue
from outbox.store.held import Held
from outbox.store.pauses import active
from outbox.store.types import DbNow
from tests.db.mails import put, worker

BIG = b"%PDF-1.7 " * 9_000


def sent(engine: sa.Engine, **values: object) -> int:
    message = flask_mail.Message(
        "Grüße, Ann",
        sender="flasky@example.com",
        recipients=["ann@example.org"],
        body="Hello",
        html="<p>Hello</p>",
        extra_headers={"References": "<before@example.com>"},
    )
    message.attach("big.pdf", "application/pdf", BIG)
    whole = compose(draft_of(message), default_sender=None, now=datetime.now(UTC), max_bytes=10**6, unique="old-one")
    with Session(engine) as session:
        written, _ = enqueue(session, whole, Posting(metadata={"order": 1}))
        session.commit()
        pk = written.id
    with engine.begin() as connection:
        values = {"state": "sent", "due_at": None, "finished_at": DbNow()} | dict(values)
        connection.execute(DELIVERY.update().where(DELIVERY.c.message_id == pk).values(values))
        return int(connection.execute(sa.select(DELIVERY.c.id).where(DELIVERY.c.message_id == pk)).scalar_one())


def wire(connection: sa.Connection, id: int) -> bytes:
    detail = operations.show(connection, id)
    assert detail is not None
    return operations.wire(connection, detail.message_id, detail.recipient)


def test_it_is_a_new_message_that_refers_to_the_old(engine: sa.Engine) -> None:
    """The same content, another Message-ID, the old one in References, queued for its recipient; the old one stays."""
    old = sent(engine, route="bulk ses")
    with engine.begin() as connection:
        before = wire(connection, old)
        new = operations.send_again(connection, old, by="ann", note="she deleted it")
    with engine.connect() as connection:
        one, other = operations.show(connection, old), operations.show(connection, new)
        assert one is not None
        assert other is not None
        assert (one.state, other.state, other.recipient, other.attempts) == (State.SENT, State.QUEUED, one.recipient, 0)
        assert wire(connection, old) == before
        first, second = (message_from_bytes(raw, policy=policy.default) for raw in (before, wire(connection, new)))
        [entry] = operations.audit.of_delivery(connection, new)
        routes = connection.execute(sa.select(DELIVERY.c.route).where(DELIVERY.c.id.in_([old, new]))).scalars()
        assert list(routes) == ["bulk ses"] * 2
        assert (entry.action, entry.note, entry.delivery_ids) == ("send-again", "she deleted it", (old, new))
    assert second["Message-ID"] == other.message_id_header != first["Message-ID"]
    assert second["References"] == f"<before@example.com> {first['Message-ID']}"
    assert dict(other.headers)["References"] == second["References"]
    assert second["Subject"] == first["Subject"] == "Grüße, Ann"
    same = [[part.get_content() for part in one.walk() if not part.is_multipart()] for one in (first, second)]
    assert same[0] == same[1]
    assert BIG in same[1]
    assert other.size == len(wire_of(engine, new))


def wire_of(engine: sa.Engine, id: int) -> bytes:
    with engine.connect() as connection:
        return wire(connection, id)


@pytest.mark.parametrize("state", [state for state in State if state is not State.SENT])
def test_only_what_was_sent(engine: sa.Engine, state: State) -> None:
    """Anything else is requeued, or on its way."""
    [id] = put(engine, "ann@example.org", state=state)
    with engine.begin() as connection, pytest.raises(ValueError, match="can't be sent again"):
        operations.send_again(connection, id, by="ann")


def test_what_cannot_be_sent_again(engine: sa.Engine) -> None:
    """What was redacted, what is not there, what is another environment's."""
    id = sent(engine)
    with engine.begin() as connection:
        for number, words in ((id, {"environment": "blue"}), (10**18, {})):
            with pytest.raises(ValueError, match=r"belongs to|no delivery"):
                operations.send_again(connection, number, by="ann", **words)
        connection.execute(MESSAGE.update().values(redacted_at=operations.now(connection)))
        with pytest.raises(ValueError, match="redacted"):
            operations.send_again(connection, id, by="ann")
        assert operations.count(connection, Filter()) == 1


def test_one_message_is_held_and_no_other(engine: sa.Engine) -> None:
    """A pause of one message holds it, the others pass; the status counts it as paused."""
    held, free = put(engine, "a@example.org")[0], put(engine, "b@example.org")[0]
    with engine.begin() as connection:
        operations.pauses.pause(connection, What.MESSAGE, str(held), by="ann", reason="wait for her call")
    with engine.connect() as connection:
        paused = Held.by(active(connection), {"mail:25"})
        assert paused.narrow
        assert paused.holds("a@example.org", None, "", held)
        assert not paused.holds("b@example.org", None, "", free)
        condition = paused.passed_over()
        assert condition is not None
        assert list(connection.execute(sa.select(DELIVERY.c.id).where(condition)).scalars()) == [held]
        status = operations.status(connection, dead_after=60.0)
        assert (status.due_now, status.held) == (1, 1)
        assert operations.pauses.concerned(connection, What.MESSAGE, str(held), Filter(states=(State.QUEUED,)), 9) == 1
        for value in ("x", "0", "-1", ""):
            with pytest.raises(ValueError, match=r"number of a message|is no"):
                operations.pauses.value_of(What.MESSAGE, value)


def test_a_worker_is_asked_once_it_is_there(engine: sa.Engine) -> None:
    """The wish is in its row, and in the audit; a worker that has ended can't be asked."""
    id = worker(engine)
    with engine.begin() as connection:
        assert operations.ask_to_end(connection, id, Ask.DRAIN, by="ann", note="new host")
        assert not operations.ask_to_end(connection, id + 1, Ask.STOP, by="ann")
        [found] = operations.workers(connection, dead_after=60.0)
        assert found.asked == "drain"
        [entry] = operations.audit.recent(connection)
        assert (entry.action, entry.filters, entry.note) == ("drain-worker", "worker mailhost:4711", "new host")
