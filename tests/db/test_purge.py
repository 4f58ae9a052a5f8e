"""Removing old mail, the same on every database."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import operations
from outbox.delivery.states import State
from outbox.models import (
    Base,
    OutboxAttempt,
    OutboxBlob,
    OutboxDelivery,
    OutboxEffect,
    OutboxEvent,
    OutboxMessage,
    OutboxMessageBlob,
    OutboxSuppression,
)
from outbox.operations import Filter, Purger, purge
from outbox.operations.purge_events import purge_events
from outbox.store.databases.drivers import shown
from outbox.store.enqueue import Posting, enqueue
from outbox.store.types import DbNow
from tests.db.mails import beside, composed, put, states, worker
from tests.servers.databases import Database

DAY = 86_400.0
LOGO = b"\x89PNG" * 500


def purged(engine: sa.Engine, older_than: float = DAY, limit: int = 100) -> int:
    """One purge in a transaction of its own."""
    with engine.begin() as connection:
        return purge(connection, older_than=older_than, limit=limit)


def size(engine: sa.Engine, table: type[Base]) -> int:
    """Rows of a table."""
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_what_is_done_with_and_old_goes_whole(engine: sa.Engine) -> None:
    """Message, deliveries, tries, big parts: nothing of it stays."""
    ids = put(engine, "a@example.org", "b@example.org", state=State.SENT, ago=2 * DAY, blob=LOGO)
    tried = {"phase": "dot", "verdict": "accepted", "reply": "OK", "duration": 1.0, "counted": True, "fenced": False}
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxAttempt).values(delivery_id=ids[0], at=DbNow(), **tried))
    assert purged(engine) == 1
    tables = (OutboxMessage, OutboxDelivery, OutboxAttempt, OutboxMessageBlob, OutboxBlob)
    assert [size(engine, table) for table in tables] == [0] * 5
    assert purged(engine) == 0


def test_only_what_is_done_with_goes(engine: sa.Engine) -> None:
    """Sent and cancelled mail that is old; nothing live, nothing young, nothing that a person has yet to look at."""
    old = {state: put(engine, state=state, ago=2 * DAY)[0] for state in State}
    young = put(engine, state=State.SENT, ago=DAY / 2)
    assert purged(engine) == 2
    stay = {id for state, id in old.items() if state not in (State.SENT, State.CANCELLED)}
    assert states(engine).keys() == {*stay, *young}


def test_a_message_stays_whole_until_all_its_deliveries_are_done_with(engine: sa.Engine) -> None:
    """One recipient that is still queued, or was requeued, keeps the message and what became of the others."""
    ids = put(engine, "a@example.org", "b@example.org", state=State.SENT, ago=2 * DAY)
    with engine.begin() as connection:
        live = {"state": "queued", "due_at": DbNow(), "finished_at": None}
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id == ids[1]).values(live))
    assert purged(engine) == 0
    assert states(engine).keys() == set(ids)


def test_failed_mail_goes_where_it_is_asked_for(engine: sa.Engine) -> None:
    """`states` says what is done with."""
    put(engine, state=State.FAILED, ago=2 * DAY)
    with engine.begin() as connection:
        assert purge(connection, older_than=DAY, limit=10, states=(State.FAILED,)) == 1


def test_it_goes_in_small_batches_the_oldest_first(engine: sa.Engine) -> None:
    """`limit` bounds one transaction; messages that must stay at the head do not hold up the others."""
    held = [put(engine, f"h{n}@example.org", "x@example.org", state=State.SENT, ago=9 * DAY) for n in range(3)]
    with engine.begin() as connection:
        first_of_each = [ids[0] for ids in held]
        failed = sa.update(OutboxDelivery).where(OutboxDelivery.id.in_(first_of_each)).values(state="failed")
        connection.execute(failed)
    ids = [put(engine, f"r{n}@example.org", state=State.SENT, ago=(5 - n) * DAY)[0] for n in range(4)]
    assert purged(engine, limit=2) == 2
    assert set(ids) & states(engine).keys() == set(ids[2:])
    assert purged(engine, limit=2) == 2


def test_a_big_part_stays_as_long_as_a_message_needs_it(engine: sa.Engine) -> None:
    """Two messages share one logo; it goes with the last."""
    put(engine, state=State.SENT, ago=3 * DAY, blob=LOGO)
    put(engine, state=State.SENT, ago=2 * DAY, blob=LOGO)
    assert purged(engine, limit=1) == 1
    assert size(engine, OutboxBlob) == 1
    assert purged(engine, limit=1) == 1
    assert size(engine, OutboxBlob) == 0


def test_rows_of_workers_that_ended_long_ago_go_too(engine: sa.Engine) -> None:
    """But not those that may still live."""
    worker(engine, heartbeat=3 * DAY, stopped_at=DbNow(-2 * DAY))
    living = worker(engine, heartbeat=3 * DAY)
    purged(engine)
    with engine.connect() as connection:
        assert list(connection.execute(sa.text("SELECT id FROM outbox_worker")).scalars()) == [living]


def test_mail_requeued_meanwhile_is_not_purged(engine: sa.Engine) -> None:
    """A person requeues old cancelled mail and has not committed yet: the purge leaves it, or waits for the end."""
    (id,) = put(engine, state=State.CANCELLED, ago=2 * DAY, blob=LOGO)
    with engine.begin() as person:
        assert operations.requeue(person, Filter(ids=(id,)), by="ann") == 1
        with beside(lambda: purged(engine)) as removed:
            person.commit()
    assert removed == [0]
    assert states(engine) == {id: "queued"}
    assert size(engine, OutboxBlob) == 1


def test_a_big_part_that_is_being_enqueued_again_is_not_purged(database: Database, engine: sa.Engine) -> None:
    """Its last message goes while a request reuses it: whoever is first, the new message is whole."""
    put(engine, state=State.SENT, ago=2 * DAY, blob=LOGO)
    with Session(database.engine) as request:
        message, _ = enqueue(request, composed("new@example.org", blob=LOGO), Posting())
        with beside(lambda: purged(engine)) as removed:
            request.commit()
        pk = message.id
    assert removed == [1]
    with engine.connect() as connection:
        assert len(operations.wire(connection, pk)) > len(LOGO)


def test_a_big_part_that_is_being_purged_is_enqueued_anew(database: Database, engine: sa.Engine) -> None:
    """A request that comes while the part goes waits for the purge's end, and then stores it again."""
    put(engine, state=State.SENT, ago=2 * DAY, blob=LOGO)

    def request() -> int:
        with Session(database.engine) as session:
            message, _ = enqueue(session, composed("new@example.org", blob=LOGO), Posting())
            session.commit()
            return message.id

    with engine.begin() as connection:
        assert purge(connection, older_than=DAY, limit=10) == 1
        with beside(request) as pks:
            connection.commit()
    with engine.connect() as connection:
        assert len(operations.wire(connection, pks[0])) > len(LOGO)


def test_a_blob_that_was_left_over_is_found_in_time(engine: sa.Engine) -> None:
    """A blob without message (its last one went while an enqueue that then rolled back held it) goes later."""
    with engine.begin() as connection:
        values = {"digest": "f" * 64, "size": 1, "data": b"x", "created_at": DbNow()}
        connection.execute(sa.insert(OutboxBlob).values(values))
    purged(engine)
    assert size(engine, OutboxBlob) == 0


def test_a_filter_takes_only_what_matches(engine: sa.Engine) -> None:
    """By message or by delivery; a message of which one recipient does not match stays whole."""
    old = {"state": State.SENT, "ago": 2 * DAY}
    news = put(engine, "a@example.org", posting=Posting(kind="news"), **old)
    both = put(engine, "a@example.com", "b@example.net", **old)
    other = put(engine, "c@example.com", **old)
    for wanted, left in (
        (Filter(kind="news"), {*both, *other}),
        (Filter(domain="example.com"), set(both)),
        (Filter(error="5.1.1"), set(both)),
    ):
        with engine.begin() as connection:
            seen = operations.purgeable(connection, older_than=DAY, states=(State.SENT,), wanted=wanted, cap=9)
            gone = purge(connection, older_than=DAY, limit=10, wanted=wanted)
        assert states(engine).keys() == left
        assert seen >= gone
    assert news[0] not in states(engine)


def test_a_worker_removes_all_that_is_old(engine: sa.Engine) -> None:
    """Batch after batch, with a wait between each two; the other environment's stays, however much there is of it."""
    red, blue = Posting(environment="red"), Posting(environment="blue")
    for turn in range(9):
        put(engine, posting=blue, state=State.SENT, ago=900.0 - turn)
        put(engine, posting=red, state=State.SENT, ago=500.0 - turn)
    young = put(engine, posting=red, state=State.SENT)[0]
    put(engine, posting=red, state=State.FAILED, ago=900.0)
    waits: list[float] = []
    purger = Purger(engine, environment="red", older_than=60.0, batch=2)
    assert purger.run(lambda seconds: bool(waits.append(seconds))) == 9
    assert len(waits) > 9
    assert max(waits) > 0.0
    with engine.connect() as connection:
        left = operations.find(connection, Filter())
    assert sorted((row.environment, row.state) for row in left) == [("blue", "sent")] * 9 + [
        ("red", "failed"),
        ("red", "sent"),
    ]
    assert young in {row.id for row in left}


def test_a_worker_stops_purging_when_it_is_told_to(engine: sa.Engine) -> None:
    """And goes on from there at the next run, also with what has ended since."""
    for _ in range(6):
        put(engine, state=State.SENT, ago=90.0)
    purger = Purger(engine, environment="", older_than=60.0, batch=2)
    answers = iter([False, False, True])
    assert purger.run(lambda seconds: next(answers)) == 4
    put(engine, state=State.SENT, ago=61.0)
    assert purger.run(lambda seconds: False) == 3
    assert states(engine) == {}


def test_kinds_are_kept_for_a_time_of_their_own(engine: sa.Engine) -> None:
    """Shorter or longer than the rest, mail of no kind among it; what has failed stays whatever its kind."""
    times = {"receipt": 900.0, "code": 10.0, "pin": 10.0}
    there: dict[tuple[str | None, float], int] = {}
    for kind in (None, "other", *times):
        for ago in (5.0, 30.0, 300.0, 3000.0):
            (there[kind, ago],) = put(engine, posting=Posting(kind=kind), state=State.SENT, ago=ago)
    (failed,) = put(engine, posting=Posting(kind="code"), state=State.FAILED, ago=3000.0)
    purger = Purger(engine, environment="", older_than=60.0, kinds=times, batch=2)
    wanted = {id for (kind, ago), id in there.items() if ago < times.get(kind or "", 60.0)}
    assert purger.run(lambda seconds: False) == len(there) - len(wanted)
    assert set(states(engine)) == wanted | {failed}
    assert purger.run(lambda seconds: False) == 0
    (late,) = put(engine, posting=Posting(kind="pin"), state=State.SENT, ago=11.0)
    assert purger.run(lambda seconds: False) == 1
    assert late not in states(engine)


def test_a_purge_by_hand_leaves_kinds_alone(engine: sa.Engine) -> None:
    """Those that are kept for a time of their own; counted and removed alike."""
    receipt = put(engine, posting=Posting(kind="receipt"), state=State.SENT, ago=90.0)
    put(engine, state=State.SENT, ago=90.0)
    put(engine, posting=Posting(kind="news"), state=State.SENT, ago=90.0)
    with engine.begin() as connection:
        found = operations.purgeable(
            connection, older_than=60.0, states=(State.SENT,), wanted=Filter(), cap=10, but_kinds=("receipt",)
        )
        assert purge(connection, older_than=60.0, limit=10, but_kinds=("receipt",)) == found == 2
    assert set(states(engine)) == set(receipt)


def test_old_events_and_ended_suppressions_go(engine: sa.Engine) -> None:
    """In batches, the oldest first; what is young, without end, or younger than a day stays whatever is asked for."""
    hour = 3_600.0
    for number, ago in enumerate((90 * DAY, 31 * DAY, 29 * DAY, hour)):
        row = {
            "type": "bounced",
            "source": "report",
            "event_id": str(number),
            "at": DbNow(),
            "recorded_at": DbNow(-ago),
        }
        _insert(engine, OutboxEvent, row)
    ends = (DbNow(-40 * DAY), DbNow(-31 * DAY), DbNow(-29 * DAY), DbNow(hour), None)
    for number, until in enumerate(ends):
        row = {"digest": f"{number:032}", "scope": "all", "reason": "bounced", "actor": "report", "since": DbNow()}
        _insert(engine, OutboxSuppression, {**row, "until": until})
    counts = []
    for _ in range(3):
        with engine.begin() as connection:
            counts.append(purge_events(connection, 30 * DAY, 1))
    assert counts == [1, 1, 0]
    assert _left(engine, OutboxEvent.event_id) == ["2", "3"]
    assert _left(engine, OutboxSuppression.digest) == [f"{number:032}" for number in (2, 3, 4)]
    with engine.begin() as connection:
        assert purge_events(connection, 60.0, 10) == 1  # a second bounce within a day may suppress
    assert _left(engine, OutboxEvent.event_id) == ["3"]
    assert _left(engine, OutboxSuppression.digest) == [f"{number:032}" for number in (3, 4)]


def test_a_suppression_that_was_made_longer_meanwhile_stays(engine: sa.Engine) -> None:
    """Whoever locks it first: the purge passes it by, or waits and looks again."""
    row = {"digest": "0" * 32, "scope": "all", "reason": "bounced", "actor": "report", "since": DbNow()}
    _insert(engine, OutboxSuppression, {**row, "until": DbNow(-40 * DAY)})

    def shorten() -> int:
        with engine.begin() as connection:
            return purge_events(connection, 30 * DAY, 10)

    with engine.begin() as person:
        person.execute(sa.update(OutboxSuppression).values(until=DbNow(DAY)))
        with beside(shorten) as removed:
            person.commit()
    assert removed == [0]
    assert len(_left(engine, OutboxSuppression.digest)) == 1


def test_effects_that_were_given_up_go(engine: sa.Engine) -> None:
    """Of the worker's environment, once they are old; what is still to do stays, and so does a webhook's end."""
    for key, environment, type, due, ago in (
        ("old", "", "sent", None, 40 * DAY),
        ("young", "", "sent", None, DAY),
        ("to do", "", "sent", DbNow(), 40 * DAY),
        ("other", "blue", "sent", None, 40 * DAY),
        ("disabled", "", "disabled", None, 40 * DAY),
    ):
        row = {"environment": environment, "name": "note", "type": type, "effect_key": key, "due_at": due}
        _insert(engine, OutboxEffect, {**row, "created_at": DbNow(-ago)})
    Purger(engine, environment="", older_than=30 * DAY).run(lambda seconds: False)
    assert _left(engine, OutboxEffect.effect_key) == ["disabled", "other", "to do", "young"]


def test_a_worker_removes_all_old_events(engine: sa.Engine) -> None:
    """Batch after batch, beside the mail."""
    for number in range(7):
        row = {
            "type": "bounced",
            "source": "x",
            "event_id": str(number),
            "at": DbNow(),
            "recorded_at": DbNow(-40 * DAY),
        }
        _insert(engine, OutboxEvent, row)
    waits: list[float] = []
    Purger(engine, environment="", older_than=30 * DAY, batch=3).run(lambda seconds: bool(waits.append(seconds)))
    assert _left(engine, OutboxEvent.event_id) == []
    assert waits


def _insert(engine: sa.Engine, table: type[Base], row: dict[str, object]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(table).values(row))


def _left(engine: sa.Engine, column: sa.orm.InstrumentedAttribute[str]) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.execute(sa.select(column)).scalars())


@pytest.mark.databases("postgresql")
def test_a_workers_purge_waits_for_no_disk_and_what_comes_after_it_does(engine: sa.Engine) -> None:
    """Claims would wait with it; what a crash of the server brings back is removed again."""
    put(engine, state=State.SENT, ago=2 * DAY)
    seen = set()

    @sa.event.listens_for(engine, "after_cursor_execute")
    def executed(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM outbox_message"):
            seen.add(connection.connection.execute("SHOW synchronous_commit").fetchone()[0])  # type: ignore[attr-defined]

    assert Purger(engine, environment="", older_than=DAY).run(lambda _: False) == 1
    assert seen == {"off"}
    with engine.connect() as connection:
        assert shown(connection, "SHOW synchronous_commit") == "on"
