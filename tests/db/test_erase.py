"""A person is erased from all tables, the same on every database."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.delivery.suppression import Why
from outbox.message.digest import ERASED, digest
from outbox.models import (
    OutboxAttempt,
    OutboxAudit,
    OutboxBlob,
    OutboxDelivery,
    OutboxEvent,
    OutboxMessage,
    OutboxPause,
)
from outbox.operations import Filter, pauses, suppressions
from outbox.operations.erase import Erased, erase
from outbox.operations.erase_message import empty_ended
from outbox.operations.suppressions import Wanted
from outbox.store.models import Base
from outbox.store.posting import Posting
from outbox.store.transport_model import OutboxTransport
from outbox.store.types import DbNow
from tests.db.mails import put, worker

KEY = b"a key"
ANN = "qzann7@example.org"
SPELLINGS = ("qzann7@example.org", "QZann7@Example.ORG")
POSTING = Posting(address_key=KEY)


def run(engine: sa.Engine, address: str = ANN, **more: Any) -> Erased:
    return erase(engine, address, address_key=KEY, by="tester", **more)


def dump(engine: sa.Engine) -> str:
    """Every value of every table of the outbox."""
    said = []
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                said += [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row]
    return "\n".join(said)


def rows(engine: sa.Engine, *columns: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(*columns).order_by(columns[0])).all())


def change(engine: sa.Engine, statement: Any) -> None:
    with engine.begin() as connection:
        connection.execute(statement)


def hundred(engine: sa.Engine) -> int:
    """100 messages to Ann in all states, some together with Bob; the number of those that Bob is still to get."""
    states = (State.SENT, State.QUEUED, State.FAILED, State.CANCELLED, State.UNCERTAIN)
    for n in range(96):
        reply = f"550 no such user {SPELLINGS[n % 2]}"
        put(
            engine,
            SPELLINGS[n % 2],
            state=states[n % 5],
            ago=60.0,
            subject="For qzann7",
            message_id=f"<{n}@x>",
            posting=Posting(address_key=KEY, key=f"welcome-{ANN}-{n}", metadata={"user": ANN}),
            delivery={"reply": reply},
        )
    for n in range(4):
        put(engine, ANN, "bob@example.org", message_id=f"<both{n}@x>", posting=POSTING, blob=b"shared" * 1000)
    put(engine, "bob@example.org", message_id="<bob@x>", posting=POSTING, blob=b"shared" * 1000)
    with engine.begin() as connection:
        ids = connection.execute(sa.select(OutboxDelivery.id).where(OutboxDelivery.recipient.in_(SPELLINGS))).scalars()
        for id in ids.all():
            values = {"delivery_id": id, "phase": "rcpt", "verdict": "permanent", "reply": f"no {ANN}", "duration": 0.1}
            more = {"at": DbNow(), "counted": True, "fenced": False, "note": ANN}
            connection.execute(sa.insert(OutboxAttempt).values(**values, **more))
        event = {"type": "bounced", "source": "report", "recipient": ANN, "at": DbNow(), "recorded_at": DbNow()}
        hashed = digest(ANN, KEY)
        for name, of in (("1", {"digest": hashed}), ("2", {})):
            connection.execute(sa.insert(OutboxEvent).values(**event, event_id=name, reply=f"no <{ANN}>", **of))
        suppressions.suppress(connection, ANN, by="tester", address_key=KEY, reason=Why.MANUAL, note=f"{ANN} asked")
        operations.audit.write(connection, "cancel", by="tester", count=1, filters=f"recipient={ANN}", note="no")
    return 4


def test_hundred_messages(engine: sa.Engine) -> None:
    """Nothing of her is in a dump; Bob's mail is still to be sent, with its bytes; she is not mailed again."""
    both = hundred(engine)
    before = rows(engine, OutboxMessage.id, OutboxMessage.size, OutboxMessage.skeleton)
    planned = run(engine, dry_run=True)
    assert "qzann7" in dump(engine)
    done = run(engine)
    assert (planned.deliveries, planned.cancelled, planned.messages, planned.waiting) == (
        done.deliveries,
        done.cancelled,
        done.messages,
        done.waiting,
    )
    assert (done.deliveries, done.messages, done.waiting, done.suppressions) == (100, 96, both, 1)
    assert "qzann7" not in dump(engine).lower()
    states = rows(engine, OutboxDelivery.id, OutboxDelivery.recipient, OutboxDelivery.state, OutboxDelivery.reason)
    hers = [row for row in states if row.recipient == ERASED]
    assert {row.state for row in hers} == {State.SENT, State.CANCELLED, State.UNCERTAIN}
    assert sum(row.reason == "erased" for row in hers) == done.cancelled
    assert [row.state for row in states if row.recipient == "bob@example.org"] == [State.QUEUED] * (both + 1)
    after = rows(engine, OutboxMessage.id, OutboxMessage.size, OutboxMessage.skeleton)
    assert [row.size for row in after] == [row.size for row in before]
    assert [row.skeleton for row in after[96:]] == [row.skeleton for row in before[96:]]
    assert len(rows(engine, OutboxBlob.digest)) == 1
    with engine.connect() as connection:
        [entry] = suppressions.entries(connection, Wanted(address=ANN), address_key=KEY)
    assert (entry.address, entry.note) == (None, None)
    trail = rows(engine, OutboxAudit.id, OutboxAudit.action, OutboxAudit.filters, OutboxAudit.count)[-1]
    assert trail[1:] == ("erase", f"address {digest(ANN, KEY)}", 100)


def test_twice(engine: sa.Engine) -> None:
    """The second time there is nothing to do, and nothing is written."""
    hundred(engine)
    run(engine)
    before = dump(engine)
    again = run(engine)
    assert again.is_nothing
    assert dump(engine) == before


def test_text_goes_when_the_others_have_it(engine: sa.Engine) -> None:
    """A message to several keeps its bytes until it has been sent to the others; then the purge empties it."""
    _, bob = put(engine, ANN, "bob@example.org", subject=f"To {ANN}", posting=POSTING)
    assert run(engine).waiting == 1
    assert empty_ended(engine) == 0
    [row] = rows(engine, OutboxMessage.id, OutboxMessage.subject, OutboxMessage.skeleton)
    assert (row.subject, bool(row.skeleton)) == (f"To {ERASED}", True)
    values = {"state": State.SENT.value, "due_at": None, "finished_at": DbNow()}
    change(engine, sa.update(OutboxDelivery).where(OutboxDelivery.id == bob).values(values))
    assert empty_ended(engine) == 1
    [row] = rows(engine, OutboxMessage.id, OutboxMessage.subject, OutboxMessage.skeleton)
    assert (row.subject, row.skeleton) == ("", b"")


def test_failed_for_others_keeps_its_text(engine: sa.Engine) -> None:
    """Bob's failed mail waits for a person, and can be requeued; hers can't."""
    ids = put(engine, ANN, "bob@example.org", state=State.FAILED, ago=60.0, posting=POSTING)
    assert run(engine).waiting == 1
    with engine.begin() as connection:
        assert operations.requeue(connection, Filter(ids=tuple(ids)), by="tester") == 1
    states = rows(engine, OutboxDelivery.id, OutboxDelivery.recipient, OutboxDelivery.state)
    assert [row[1:] for row in states] == [(ERASED, State.CANCELLED), ("bob@example.org", State.QUEUED)]


def test_what_is_being_sent(engine: sa.Engine) -> None:
    """A worker's delivery is left alone and counted; it is erased by the next call."""
    [id] = put(engine, ANN, state=State.SENDING, posting=POSTING)
    done = run(engine)
    assert (done.sending, done.deliveries, done.is_whole) == (1, 0, False)
    values = {"state": State.SENT.value, "due_at": None, "token": None, "finished_at": DbNow()}
    change(engine, sa.update(OutboxDelivery).where(OutboxDelivery.id == id).values(values))
    assert run(engine).deliveries == 1
    assert "qzann7" not in dump(engine)


@pytest.mark.parametrize("state", [State.SENT, State.QUEUED])
def test_headers_of_messages_to_others(engine: sa.Engine, state: State) -> None:
    """Reply-To of Bob's message: gone from the row; the frozen text goes with it once it was sent, not before."""
    put(engine, "bob@example.org", state=state, ago=60.0, posting=POSTING)
    headers = [["Reply-To", f"Ann <{ANN}>"], ["Subject", "x"]]
    text = f"Reply-To: {ANN}\r\nSubject: x\r\n\r\nbody\r\n".encode()
    change(engine, sa.update(OutboxMessage).values(headers=headers, skeleton=text, size=len(text)))
    assert run(engine, dry_run=True).named == 1
    done = run(engine)
    assert (done.named, done.waiting) == (1, 0 if state is State.SENT else 1)
    [row] = rows(engine, OutboxMessage.id, OutboxMessage.headers, OutboxMessage.skeleton)
    assert ANN not in str(row.headers)
    assert row.skeleton == (b"" if state is State.SENT else text)


def test_other_addresses_stay(engine: sa.Engine) -> None:
    """What only ends or begins like the address is another person's."""
    others = (f"x.{ANN}", f"x+{ANN}", f"{ANN}.uk", ANN.replace("@", "+shop@"))
    for n, other in enumerate(others):
        put(engine, other, state=State.SENT, subject=f"To {other}", message_id=f"<{n}@x>", posting=POSTING)
    before = dump(engine)
    assert run(engine).is_nothing
    assert dump(engine) == before


def test_what_workers_and_operators_wrote(engine: sa.Engine) -> None:
    """Errors in the rows of workers and transports, VERP senders; a pause of her mail stays while that is queued."""
    worker(engine, health={"transports": [{"error": f"550 no <{SPELLINGS[1]}>"}], "counters": {"sent": 3}})
    put(engine, ANN, state=State.SENT, envelope_from="news-qzann7=example.org@shop.example", posting=POSTING)
    more = {"message_id": "<2@x>", "state": State.SENT, "posting": POSTING}
    put(engine, "bob@example.org", envelope_from="news+qzann7=example.org@shop.example", **more)
    [queued] = put(engine, "bob@example.org", envelope_from=ANN, message_id="<3@x>", posting=POSTING)
    with engine.begin() as connection:
        pauses.pause(connection, pauses.What.SENDER, ANN, by=ANN, reason="asked")
        values = {"environment": "", "name": "x:25", "state": "down", "since": DbNow(), "error": f"rcpt: no {ANN}"}
        connection.execute(sa.insert(OutboxTransport).values(values))
    planned = run(engine, dry_run=True)
    done = run(engine)
    assert planned == done
    assert (done.pauses, done.senders, done.is_whole) == (1, 1, False)
    assert (done.words["worker"], done.words["transport"]) == (1, 1)
    [pause] = rows(engine, OutboxPause.id, OutboxPause.value, OutboxPause.actor)
    assert (pause.value, pause.actor) == (ANN, f"erased:{digest(ANN, KEY)}")
    change(engine, sa.update(OutboxDelivery).where(OutboxDelivery.id == queued).values(state="sent", due_at=None))
    assert run(engine).is_whole
    assert "qzann7" not in dump(engine).lower()
    assert rows(engine, OutboxPause.id) == []
