"""The queue's behaviour, the same on every database."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.core.errors import DamagedMessageError
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.states import Lane, State
from outbox.message.values import Blob, Composed, splice
from outbox.models import OutboxAttempt, OutboxBlob, OutboxDelivery, OutboxMessage, OutboxWorker
from outbox.store.claimed import Claimed
from outbox.store.enqueue import Posting, enqueue
from outbox.store.messages import CLAIMED_BYTES
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from outbox.store.types import DbNow

LEASE = 60.0
ACCEPTED = Result(Verdict.ACCEPTED, Phase.DOT, Reply(250, "2.0.0", "OK queued as 1"), 0.01, relay_id="1")
DEFERRED = Result(Verdict.TRANSIENT, Phase.RCPT, Reply(450, "4.2.1", "later"), 0.01)


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    """A queue with a lease of a minute."""
    return Queue(engine, environment="", lease=LEASE)


@pytest.fixture
def outcome_store(engine: sa.Engine) -> OutcomeStore:
    """Where outcomes are recorded."""
    return OutcomeStore(engine)


@pytest.fixture
def worker(queue: Queue) -> int:
    """A registered worker."""
    return queue.register(host="here", pid=1, version="1", connections=4)


def composed(*recipients: str, blobs: tuple[tuple[int, Blob], ...] = ()) -> Composed:
    """A small message."""
    return Composed(
        message_id="<1@example.org>",
        envelope_from="from@example.org",
        recipients=recipients or ("to@example.org",),
        subject="Grüße",
        headers=(("Subject", "Grüße"),),
        skeleton=b"Subject: x\r\n\r\nbody\r\n",
        blobs=blobs,
        size=20 + sum(len(b"".join(splice(b"", ((0, blob),)))) for _, blob in blobs),
    )


def put(engine: sa.Engine, *recipients: str, posting: Posting | None = None, **kw: object) -> int:
    """Enqueue and commit one message; its primary key."""
    with Session(engine) as session:
        message, _ = enqueue(session, composed(*recipients, **kw), posting or Posting())  # type: ignore[arg-type]
        session.commit()
        return message.id


def outcome(claimed: Claimed, state: State = State.SENT, result: Result | None = ACCEPTED, **kw: object) -> Outcome:
    """An outcome of a claimed delivery."""
    defaults: dict[str, object] = {
        "delay": None,
        "counted": result is not None,
        "suspected": False,
        "reason": None,
        "note": None,
        "transport": "relay:25",
    }
    return Outcome(claimed=claimed, state=state, result=result, **(defaults | kw))  # type: ignore[arg-type]


def rows(engine: sa.Engine) -> list[OutboxDelivery]:
    """All deliveries, oldest first."""
    with Session(engine) as session:
        return list(session.scalars(sa.select(OutboxDelivery).order_by(OutboxDelivery.id)))


@pytest.mark.parametrize("longer", [0, 1])
def test_a_long_text_is_not_held_in_the_window(engine: sa.Engine, queue: Queue, worker: int, longer: int) -> None:
    """It is read in pieces as it is sent; one that was changed meanwhile is not sent in parts of both."""
    text = b"Subject: x\r\n\r\n" + bytes(n % 256 for n in range(CLAIMED_BYTES - 14 + longer))
    id_ = put(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).values(skeleton=text, size=len(text)))
    (claimed,) = queue.claim(worker, 7, 10)
    assert claimed.id == id_
    assert claimed.message.damage is None
    if not longer:
        assert claimed.message.skeleton == text
        return
    assert (claimed.message.skeleton, claimed.message.skeleton_size) == (None, len(text))
    cuts = [(0, 1000), (1000, len(text) - 1000)]
    assert b"".join(queue.contents.text_part(claimed.message, start, length) for start, length in cuts) == text
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).values(skeleton=text + b"."))
    with pytest.raises(DamagedMessageError):
        queue.contents.text_part(claimed.message, 0, 1000)


def make_due(engine: sa.Engine) -> None:
    """Let every lease and every wait run out."""
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.due_at.is_not(None)).values(due_at=DbNow(-1)))


def test_a_heartbeat_brings_back_a_row_that_was_purged(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Declared dead and purged while it stood still: its next heartbeat writes the row again, under the same id."""
    with engine.begin() as connection:
        connection.execute(sa.delete(OutboxWorker))
    other = queue.register(host="there", pid=2, version="1", connections=1)
    assert other != worker
    queue.beat(worker, {"counts": {}})
    with Session(engine) as session:
        row = session.get_one(OutboxWorker, worker)
        assert (row.host, row.pid, row.stopped_at, row.health) == ("here", 1, None, {"counts": {}})


def test_a_committed_message_is_claimed_once(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """A due delivery is leased to one claim, with all that sending it needs."""
    put(engine, "a@example.org", "b@example.org")
    claimed = queue.claim(worker, 7, 10)
    assert [(one.recipient, one.token, one.rescued) for one in claimed] == [
        ("a@example.org", 7, False),
        ("b@example.org", 7, False),
    ]
    assert claimed[0].message.skeleton == b"Subject: x\r\n\r\nbody\r\n"
    assert queue.claim(worker, 8, 10) == []
    assert [row.state for row in rows(engine)] == ["sending", "sending"]


def test_a_rolled_back_message_is_nowhere(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Roll back: it never existed, its big parts neither."""
    with Session(engine) as session:
        enqueue(session, composed(blobs=((3, Blob(b"x" * 10000)),)), Posting())
        session.rollback()
    assert queue.claim(worker, 7, 10) == []
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxBlob)) == 0


def test_a_message_dated_ahead_waits(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """`send_at` is the time at which it becomes due."""
    put(engine, posting=Posting(send_at=datetime.now(UTC) + timedelta(hours=1)))
    assert queue.claim(worker, 7, 10) == []
    make_due(engine)
    assert len(queue.claim(worker, 7, 10)) == 1


def test_lanes_go_in_order_and_none_starves(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """High before normal before bulk, yet a full lane leaves the lower ones their share of a claim."""
    for lane in (Lane.BULK, Lane.NORMAL, Lane.HIGH):
        for _ in range(8):
            put(engine, posting=Posting(lane=lane))
    slots = [one.slot for one in queue.claim(worker, 7, 12)]
    assert slots == sorted(slots)
    assert slots.count(Lane.HIGH.slot(retry=False)) == 8
    slots = [one.slot for one in queue.claim(worker, 8, 8)]
    assert Lane.BULK.slot(retry=False) in slots


def test_small_claims_keep_to_the_shares(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """As one connection makes them: neither retries nor bulk mail take new mail's place, and each finds its own."""
    for lane, retry in ((Lane.NORMAL, True), (Lane.BULK, False), (Lane.NORMAL, False)):
        ids = [put(engine, posting=Posting(lane=lane)) for _ in range(24)]
        with engine.begin() as connection:
            ours = OutboxDelivery.message_id.in_(ids)
            connection.execute(sa.update(OutboxDelivery).where(ours).values(lane=lane.slot(retry=retry)))
    slots = Counter(one.slot for _ in range(16) for one in queue.claim(worker, 7, 2))
    assert slots.total() == 32
    new, retries, bulk = (
        slots[slot]
        for slot in (Lane.NORMAL.slot(retry=False), Lane.NORMAL.slot(retry=True), Lane.BULK.slot(retry=False))
    )
    assert new >= 18
    assert retries >= 2
    assert bulk >= 4
    assert [len(queue.claim(worker, 7, 1)) for _ in range(40)] == [1] * 40


def test_probes_are_what_waited_longest_and_new_mail_by_turns(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Whatever the lane of a retry; of new mail the high lane goes first."""
    slots = [
        Lane.BULK.slot(retry=True),
        Lane.HIGH.slot(retry=True),
        Lane.NORMAL.slot(retry=True),
        Lane.BULK.slot(retry=False),
        Lane.HIGH.slot(retry=False),
    ]
    now = datetime.now(UTC)
    for age, slot in enumerate(slots):
        id_ = put(engine)
        with engine.begin() as connection:
            ours = OutboxDelivery.message_id == id_
            due_at = now - timedelta(seconds=100 - age)
            connection.execute(sa.update(OutboxDelivery).where(ours).values(lane=slot, due_at=due_at))
    probes = [one.slot for _ in range(6) for one in queue.claim(worker, 7, 1, probe=True)]
    assert probes == [slots[4], slots[0], slots[3], slots[1], slots[2]]


def test_retries_alone_fill_a_claim(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Their share is one of what others leave, too."""
    for _ in range(20):
        put(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).values(lane=Lane.NORMAL.slot(retry=True)))
    assert [len(queue.claim(worker, 7, 16)), len(queue.claim(worker, 8, 16))] == [16, 4]


def test_recording_writes_state_and_attempt(
    engine: sa.Engine, queue: Queue, outcome_store: OutcomeStore, worker: int
) -> None:
    """Sent: terminal, with the relay's words and an attempt row."""
    put(engine)
    (claimed,) = queue.claim(worker, 7, 10)
    assert outcome_store.record(worker, [outcome(claimed)]) == set()
    (row,) = rows(engine)
    assert (row.state, row.due_at, row.token, row.worker_id, row.attempts) == ("sent", None, None, None, 1)
    assert (row.code, row.enhanced, row.reply) == (250, "2.0.0", "OK queued as 1")
    assert row.finished_at is not None
    with Session(engine) as session:
        attempt = session.scalars(sa.select(OutboxAttempt)).one()
        assert (attempt.verdict, attempt.relay_id, attempt.counted, attempt.fenced) == ("accepted", "1", True, False)


def test_recording_twice_changes_nothing(
    engine: sa.Engine, queue: Queue, outcome_store: OutcomeStore, worker: int
) -> None:
    """When the reply to a commit was lost, the same outcomes may be recorded again."""
    put(engine)
    (claimed,) = queue.claim(worker, 7, 10)
    outcome_store.record(worker, [outcome(claimed)])
    assert outcome_store.record(worker, [outcome(claimed)]) == set()
    with Session(engine) as session:
        assert len(session.scalars(sa.select(OutboxAttempt)).all()) == 1


def test_a_retry_waits_in_the_retries_lane(
    engine: sa.Engine, queue: Queue, outcome_store: OutcomeStore, worker: int
) -> None:
    """A counted retry is due after its delay, behind new mail of the same priority."""
    put(engine)
    (claimed,) = queue.claim(worker, 7, 10)
    outcome_store.record(worker, [outcome(claimed, State.QUEUED, DEFERRED, delay=30.0, reason="deferred")])
    (row,) = rows(engine)
    assert (row.state, row.attempts, row.lane, row.reason) == ("queued", 1, Lane.NORMAL.slot(retry=True), "deferred")
    assert row.due_at is not None
    assert timedelta(seconds=20) < row.due_at - row.updated_at < timedelta(seconds=40)


def test_a_release_leaves_no_trace(engine: sa.Engine, queue: Queue, outcome_store: OutcomeStore, worker: int) -> None:
    """What is given back untried is due as it was before, and lost no attempt."""
    put(engine)
    (before,) = rows(engine)
    (claimed,) = queue.claim(worker, 7, 10)
    outcome_store.record(worker, [outcome(claimed, State.QUEUED, None)])
    (row,) = rows(engine)
    assert (row.state, row.attempts, row.due_at, row.lane) == ("queued", 0, before.due_at, before.lane)
    with Session(engine) as session:
        assert session.scalars(sa.select(OutboxAttempt)).all() == []


def test_a_lost_lease_is_never_overwritten(
    engine: sa.Engine, queue: Queue, outcome_store: OutcomeStore, worker: int
) -> None:
    """The fence: a worker that lost its lease changes nothing, but what it did is written down as such."""
    put(engine)
    (stale,) = queue.claim(worker, 7, 10)
    make_due(engine)
    (fresh,) = queue.claim(worker, 8, 10)
    assert fresh.rescued
    assert fresh.rescues == 1
    assert not queue.mark(stale)
    assert outcome_store.record(worker, [outcome(stale)]) == {stale.id}
    (row,) = rows(engine)
    assert (row.state, row.token) == ("sending", 8)
    with Session(engine) as session:
        assert session.scalars(sa.select(OutboxAttempt)).one().fenced
    assert outcome_store.record(worker, [outcome(fresh)]) == set()
    assert rows(engine)[0].state == "sent"


def test_a_mark_survives_its_lease(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Whoever rescues a delivery sees that its final dot may have been sent."""
    put(engine)
    (claimed,) = queue.claim(worker, 7, 10)
    assert not claimed.marked
    assert queue.mark(claimed)
    make_due(engine)
    (rescued,) = queue.claim(worker, 8, 10)
    assert rescued.marked


def test_what_a_dead_worker_held_is_due_at_once(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """A stale heartbeat frees the leases long before they run out; a live worker's are left alone."""
    put(engine)
    queue.claim(worker, 7, 10)
    assert queue.rescue(dead_after=20.0) == []
    assert queue.claim(worker, 8, 10) == []
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxWorker).values(heartbeat_at=DbNow(-60)))
    other = queue.register(host="here", pid=2, version="1", connections=1)
    assert queue.rescue(dead_after=20.0) == [worker]
    assert queue.rescue(dead_after=20.0) == []
    (rescued,) = queue.claim(other, 9, 10)
    assert rescued.rescued


@pytest.mark.databases("postgresql", "mariadb")
def test_what_a_dead_worker_has_locked_is_rescued_once_the_lock_is_gone(
    engine: sa.Engine, queue: Queue, worker: int
) -> None:
    """Stopped within a transaction it keeps some rows locked for seconds: they must not wait for the lease's end."""
    put(engine, "locked@example.org", "free@example.org")
    locked, _ = queue.claim(worker, 7, 10)
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxWorker).values(heartbeat_at=DbNow(-60)))
    other = queue.register(host="here", pid=2, version="1", connections=1)
    with engine.begin() as stopped:
        stopped.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id == locked.id).values(marked_at=DbNow()))
        assert queue.rescue(dead_after=20.0) == []
        assert [one.recipient for one in queue.claim(other, 8, 10)] == ["free@example.org"]
        stopped.rollback()
    assert queue.rescue(dead_after=20.0) == [worker]
    assert [one.recipient for one in queue.claim(other, 9, 10)] == ["locked@example.org"]


def age(engine: sa.Engine, worker: int, seconds: float) -> None:
    """Let the worker's latest heartbeat be so old."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(OutboxWorker).where(OutboxWorker.id == worker).values(heartbeat_at=DbNow(-seconds))
        )


def test_each_worker_is_judged_by_the_limit_that_it_asked_for(engine: sa.Engine, queue: Queue) -> None:
    """Not by the judge's, as while a setting is being rolled out; one that asks for none by the judge's."""
    patient = queue.register(host="here", pid=1, version="1", connections=1, dead_after=300.0)
    eager = queue.register(host="here", pid=2, version="1", connections=1, dead_after=5.0)
    before = queue.register(host="here", pid=3, version="0", connections=1)
    for worker in (patient, eager, before):
        age(engine, worker, 10.0)
    assert queue.rescue(dead_after=20.0) == [eager]
    age(engine, before, 30.0)
    age(engine, patient, 290.0)
    assert queue.rescue(dead_after=20.0) == [before]
    age(engine, patient, 310.0)
    assert queue.rescue(dead_after=3600.0) == [patient]


def test_a_worker_judges_those_of_its_own_environment_alone(engine: sa.Engine, queue: Queue) -> None:
    """Another environment's workers may have other settings, and what they hold is none of its business."""
    theirs = Queue(engine, environment="staging", lease=LEASE)
    dead = theirs.register(host="there", pid=2, version="1", connections=1, dead_after=5.0)
    age(engine, dead, 60.0)
    assert queue.rescue(dead_after=5.0) == []
    assert theirs.rescue(dead_after=5.0) == [dead]


def test_what_was_claimed_since_a_dead_worker_held_it_is_not_released(
    engine: sa.Engine, queue: Queue, worker: int
) -> None:
    """Another worker claims it between the look at what the dead one held and the release: it keeps its lease."""
    put(engine, "a@example.org", "b@example.org")
    lost, held = queue.claim(worker, 7, 10)
    other = queue.register(host="here", pid=2, version="1", connections=1)
    releasing = threading.Event()

    @sa.event.listens_for(engine, "before_cursor_execute")
    def executes(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE outbox_delivery"):
            releasing.set()

    claims = sa.create_engine(engine.url)
    if engine.dialect.name == "sqlite":  # where a transaction that writes excludes the others: it can only be before
        with claims.begin() as connection:
            take_over(connection, lost.id, other)
        assert queue.release_leases(worker, for_good=True) == 1
    else:
        with ThreadPoolExecutor(1) as pool:
            with claims.begin() as connection:
                take_over(connection, lost.id, other)
                reaping = pool.submit(queue.release_leases, worker, for_good=True)
                assert releasing.wait(20)
            assert reaping.result(20) == 1
    claims.dispose()
    assert [(row.worker_id, row.token) for row in rows(engine)] == [(other, 8), (worker, 7)]
    assert [one.id for one in queue.claim(other, 9, 10)] == [held.id]


def take_over(connection: sa.Connection, delivery: int, worker: int) -> None:
    """What a claim by another worker changes once a lease has run out."""
    changed = sa.update(OutboxDelivery).where(OutboxDelivery.id == delivery)
    connection.execute(changed.values(worker_id=worker, token=8, due_at=DbNow(LEASE)))


def test_another_environments_mail_is_left_alone(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """A worker passes over mail of another environment and says whose it is; its own worker gets it at once."""
    put(engine, posting=Posting(environment="production"))
    put(engine, "mine@example.org")
    (before, _) = rows(engine)
    assert [one.recipient for one in queue.claim(worker, 7, 10)] == ["mine@example.org"]
    assert [one.environment for one in queue.foreign()] == ["production"]
    (row, _) = rows(engine)
    assert (row.state, row.due_at, row.attempts, row.updated_at) == ("queued", before.due_at, 0, before.updated_at)
    theirs = Queue(engine, environment="production", lease=LEASE)
    assert [one.id for one in theirs.claim(worker, 8, 10)] == [row.id]
    assert queue.foreign() == []


def test_big_parts_are_stored_once(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Two messages with one logo share its row, and each is put together again to the byte."""
    logo = Blob(bytes(range(256)) * 40)
    for _ in range(2):
        put(engine, blobs=((3, logo),))
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxBlob)) == 1
    claimed = queue.claim(worker, 7, 10)
    for one in claimed:
        ((offset, digest),) = one.message.parts
        assert (offset, queue.contents.blob_size(digest)) == (3, len(logo.data))
        assert queue.contents.blob_part(digest, 0, 10**6) == logo.data
        assert queue.contents.blob_part(digest, 5, 7) == logo.data[5:12]
    with pytest.raises(DamagedMessageError, match="missing"):
        queue.contents.blob_size("0" * 64)


@pytest.mark.parametrize("ending", ["same transaction", "committed", "at once"])
def test_a_key_yields_one_message(engine: sa.Engine, ending: str) -> None:
    """The same key twice is the first message, in one transaction, in two, and in two at the same time."""
    if ending == "same transaction":
        with Session(engine) as session:
            first, new = enqueue(session, composed(), Posting(key="k"))
            again, newer = enqueue(session, composed(), Posting(key="k"))
            assert (new, newer) == (True, False)
            assert again is first
            session.commit()
    elif ending == "committed":
        assert put(engine, posting=Posting(key="k")) == put(engine, posting=Posting(key="k"))
        assert put(engine, posting=Posting(key="K")) != put(engine, posting=Posting(key="k"))  # case counts
    else:
        barrier = threading.Barrier(4)
        ids: list[int] = []

        def race(number: int) -> None:
            mine = replace(composed(), message_id=f"<{number}@example.org>")
            with Session(engine) as session:
                barrier.wait(10)
                message, _ = enqueue(session, mine, Posting(key="k"))
                ids.append(message.id)
                session.commit()

        threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(ids) == 4
        assert len(set(ids)) == 1
    with engine.connect() as connection:
        keys = sa.select(sa.func.count()).where(OutboxMessage.key == "k")
        assert connection.scalar(keys) == 1


def test_workers_at_once_share_without_overlap(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Four claimers at once get every delivery, each once."""
    for _ in range(30):
        put(engine, *(f"{number}@example.org" for number in range(4)))
    got: list[int] = []
    barrier = threading.Barrier(4)

    def claim(number: int) -> None:
        barrier.wait(10)
        misses = 0
        while misses < 20 and len(got) < 120:
            claimed = queue.claim(worker, number, 7)
            got.extend(one.id for one in claimed)
            misses += not claimed

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 120
    assert len(set(got)) == 120
