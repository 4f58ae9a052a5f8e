"""What monitoring reads of the database, the same on every one of them."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa

from outbox.delivery.states import Lane, State
from outbox.operations import Gauges, gauges, pauses
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from tests.db.mails import put, worker


def look(engine: sa.Engine, cap: int = 1000) -> Gauges:
    with engine.connect() as connection:
        return gauges(connection, dead_after=20.0, cap=cap)


def test_depth_is_told_by_state_and_lane(engine: sa.Engine) -> None:
    """Retries count to their lane; what is due is told apart from what is dated into the future."""
    put(engine, ago=50, posting=Posting(lane=Lane.HIGH))
    put(engine, "a@x.org", "b@x.org", ago=100, delivery={"lane": Lane.NORMAL.slot(retry=True)})
    put(engine, ago=-200, state=State.SENDING, delivery={"lane": Lane.NORMAL.slot(retry=False)})
    put(engine, ago=-500, posting=Posting(lane=Lane.BULK))
    put(engine, state=State.SENT)
    seen = look(engine)
    assert {key: number for key, number in seen.depth.items() if number} == {
        (State.QUEUED, Lane.HIGH): 1,
        (State.QUEUED, Lane.NORMAL): 2,
        (State.QUEUED, Lane.BULK): 1,
        (State.SENDING, Lane.NORMAL): 1,
    }
    assert seen.due == {Lane.HIGH: 1, Lane.NORMAL: 2, Lane.BULK: 0}
    assert seen.oldest_due[Lane.NORMAL] == pytest.approx(100, abs=20)
    assert seen.oldest_due[Lane.BULK] == 0


def test_what_waits_for_a_person_is_counted(engine: sa.Engine) -> None:
    """Failed and uncertain mail."""
    for state in (State.FAILED, State.FAILED, State.UNCERTAIN, State.CANCELLED):
        put(engine, state=state)
    assert look(engine).unresolved == {State.FAILED: 2, State.UNCERTAIN: 1}


def test_counting_stops_at_the_cap(engine: sa.Engine) -> None:
    """The cost of a look does not grow with the queue."""
    put(engine, *(f"r{number}@example.org" for number in range(9)))
    put(engine, *(f"r{number}@example.org" for number in range(9)), state=State.FAILED)
    seen = look(engine, cap=5)
    assert seen.depth[State.QUEUED, Lane.NORMAL] == seen.due[Lane.NORMAL] == seen.unresolved[State.FAILED] == 5


def test_heartbeats_tell_of_workers_and_their_relays(engine: sa.Engine) -> None:
    """Not of those that ended in good order, nor of rows of another form."""
    worker(engine, heartbeat=3, health={"transport": {"name": "mail:25", "state": "open"}})
    worker(engine, heartbeat=300, pid=1, health={"transport": 7})
    worker(engine, stopped_at=sa.func.current_timestamp())
    living, dead = look(engine).heartbeats
    assert (living.alive, living.transports, living.pid) == (True, (("mail:25", "down"),), 4711)
    assert (dead.alive, dead.transports) == (False, ())
    assert dead.age == pytest.approx(300, abs=20)


def test_paused_mail_is_told_apart(engine: sa.Engine) -> None:
    """It is not due and not old, so that no alert wakes anybody for what somebody wants to wait."""
    put(engine, ago=900, posting=Posting(kind="newsletter"))
    put(engine, ago=50)
    with engine.begin() as connection:
        pauses.pause(connection, What.KIND, "newsletter", by="ann")
    seen = look(engine)
    assert (seen.due[Lane.NORMAL], seen.paused, seen.pauses) == (1, 1, 1)
    assert seen.oldest_due[Lane.NORMAL] == pytest.approx(50, abs=20)
    with engine.begin() as connection:
        pauses.pause(connection, What.ALL, by="ann")
    seen = look(engine)
    assert (sum(seen.due.values()), seen.paused, max(seen.oldest_due.values())) == (0, 2, 0.0)


@pytest.mark.parametrize("paused", [False, True])
def test_the_deliveries_are_asked_nothing_twice(engine: sa.Engine, paused: bool) -> None:
    """What is due is looked at once, which takes longest where much of it is paused."""
    put(engine, posting=Posting(kind="newsletter"))
    if paused:
        with engine.begin() as connection:
            pauses.pause(connection, What.KIND, "newsletter", by="ann")
    asked: list[tuple[str, str]] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *event: asked.append((event[2], repr(event[3]))))
    look(engine)
    assert [one for one, times in Counter(asked).items() if "outbox_delivery" in one[0] and times > 1] == []
