"""What rulings change in the database: pauses set, probed and lifted by workers, refusals taken back."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from outbox.delivery.reply import About, Phase, Verdict
from outbox.delivery.states import Lane, State
from outbox.models import OutboxAttempt, OutboxDelivery, OutboxPause
from outbox.operations import pauses as operators
from outbox.operations import transitions
from outbox.operations.filters import Filter
from outbox.store.enqueue import Posting
from outbox.store.held import Held
from outbox.store.pauses import ABANDONED_SECONDS, FIRST_PROBE, LONGEST_PROBE, Pause, What, active
from outbox.store.queue import Queue
from outbox.store.rulings import RECENT_SECONDS, Rulings
from outbox.store.types import DbNow
from tests.db.mails import put

RELAY = "relay.example:25"
BAD = "bad@example.org"


@pytest.fixture
def rulings(engine: sa.Engine) -> Rulings:
    """Those of a worker without an environment of its own."""
    return Rulings(engine, environment="", transport=RELAY)


def pause(rulings: Rulings, what: What = What.SENDER, value: str = BAD, reply: str = "550 5.7.60 no") -> bool:
    """One is refused."""
    return rulings.pause(what, value, reason="refused", reply=reply)


def in_force(engine: sa.Engine) -> list[Pause]:
    """The pauses."""
    with engine.connect() as connection:
        return active(connection)


def change(engine: sa.Engine, **values: Any) -> None:
    """Set columns of all pauses."""
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxPause).values(**values))


def rows(engine: sa.Engine, *columns: Any) -> list[tuple[Any, ...]]:
    """These columns of all rows, by id."""
    table = columns[0].class_
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(table.id))]


def attempt(engine: sa.Engine, delivery: int, **values: Any) -> None:
    """An attempt that was refused as all are, unless `values` say otherwise."""
    refused: dict[str, Any] = {
        "delivery_id": delivery,
        "at": DbNow(),
        "transport": RELAY,
        "phase": "rcpt",
        "verdict": "permanent",
        "code": 554,
        "enhanced": "5.7.1",
        "reply": "Relay access denied",
        "duration": 0.1,
        "counted": True,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxAttempt).values({**refused, **values}))


class TestPausing:
    """The pause of what a relay refuses."""

    def test_it_says_all_there_is_to_know(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Who is held back, where, in the server's words, and when it is probed."""
        assert pause(rulings)
        (one,) = in_force(engine)
        assert (one.what, one.value, one.environment, one.transport) == (What.SENDER, BAD, "", RELAY)
        assert (one.automatic, one.by, one.reason, one.reply) == (True, "automatic", "refused", "550 5.7.60 no")
        assert one.until is None
        assert one.probe_at is not None
        assert (one.probe_at - one.since).total_seconds() == pytest.approx(FIRST_PROBE, abs=1)
        assert not one.is_to_probe

    def test_the_same_again_changes_nothing(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Another worker found it, or what was under way came back."""
        pause(rulings)
        assert not pause(rulings, reply="other words")
        assert [one.reply for one in in_force(engine)] == ["550 5.7.60 no"]

    def test_two_workers_at_once_set_one(self, engine: sa.Engine, rulings: Rulings) -> None:
        """One of them did it, and neither fails."""
        assert sorted(_together(lambda: pause(rulings))) == [False, True]
        assert len(in_force(engine)) == 1

    def test_each_transport_and_environment_has_its_own(self, engine: sa.Engine, rulings: Rulings) -> None:
        """And an operator's stands beside them."""
        with engine.begin() as connection:
            operators.pause(connection, What.DOMAIN, "slow.example", by="ann")
        for environment, transport in (("", RELAY), ("", "other.example:25"), ("staging", RELAY)):
            other = Rulings(engine, environment=environment, transport=transport)
            assert pause(other, What.DOMAIN, "slow.example")
        assert len(in_force(engine)) == 4
        assert rulings.release(What.DOMAIN, "slow.example")
        assert [(one.environment, one.transport) for one in in_force(engine)] == [
            ("*", ""),
            ("", "other.example:25"),
            ("staging", RELAY),
        ]

    def test_a_long_reply_is_cut(self, engine: sa.Engine, rulings: Rulings) -> None:
        """To what the column holds."""
        assert pause(rulings, reply="550 " + "ü" * 2000)
        assert len(in_force(engine)[0].reply or "") == 1000

    def test_release_of_what_is_not_paused_is_nothing(self, rulings: Rulings) -> None:
        """It tells."""
        assert not rulings.release(What.SENDER, BAD)

    def test_only_workers_of_that_transport_follow_it(self, engine: sa.Engine, rulings: Rulings) -> None:
        """And expired mail is claimed all the same, for it to end as failed."""
        pause(rulings)
        put(engine, "held@example.com", delivery={"domain": "example.com"})
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE outbox_message SET envelope_from = :bad"), {"bad": BAD})
        put(engine, "free@example.com", message_id="<2@example.org>")
        queue = Queue(engine, environment="", lease=60.0)
        worker_id = queue.register(host="here", pid=1, version="1", connections=4)
        queue.hold(Held.by(in_force(engine), [RELAY]))
        assert [one.recipient for one in queue.claim(worker_id, 1, 10)] == ["free@example.com"]
        queue.hold(Held.by(in_force(engine), ["other.example:25"]))
        assert [one.recipient for one in queue.claim(worker_id, 2, 10)] == ["held@example.com"]


class TestProbing:
    """One delivery now and then shows whether it is over."""

    def test_nobody_probes_before_its_time(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Nor a pause that is gone."""
        pause(rulings)
        (one,) = in_force(engine)
        assert not rulings.take_probe(one.id)
        assert not rulings.take_probe(one.id + 1)

    def test_one_of_two_workers_takes_it(self, engine: sa.Engine, rulings: Rulings) -> None:
        """At the same moment, each with a connection of its own."""
        pause(rulings)
        change(engine, probe_at=DbNow(-1.0))
        (one,) = in_force(engine)
        assert one.is_to_probe
        waits = _together(lambda: rulings.take_probe(one.id))
        assert sorted(wait is not None for wait in waits) == [False, True]
        assert not in_force(engine)[0].is_to_probe

    def test_each_wait_is_twice_the_last_up_to_the_longest(self, engine: sa.Engine, rulings: Rulings) -> None:
        """10, 20, 40 … minutes, 4 hours at the most."""
        pause(rulings)
        (one,) = in_force(engine)
        waits = []
        for _ in range(6):
            change(engine, probe_at=DbNow(-1.0))
            assert rulings.take_probe(one.id)
            waits += [seconds for (seconds,) in rows(engine, OutboxPause.probe_seconds)]
        assert waits == [1200, 2400, 4800, 9600, LONGEST_PROBE, LONGEST_PROBE]
        (one,) = in_force(engine)
        with engine.connect() as connection:
            now = connection.execute(sa.select(DbNow())).scalar_one()
        assert one.probe_at is not None
        assert (one.probe_at - now).total_seconds() == pytest.approx(LONGEST_PROBE, abs=5)

    def test_a_transport_that_is_no_more_has_no_pauses(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Those whose probe is overdue by hours end, but for the worker's own and those of other environments."""
        others = [
            Rulings(engine, environment=environment, transport=transport)
            for environment, transport in (("", "old.example:25"), ("staging", "old.example:25"))
        ]
        for one in (rulings, *others):
            pause(one)
        with engine.begin() as connection:
            operators.pause(connection, What.SENDER, BAD, by="ann")
        assert rulings.end_abandoned({RELAY}) == []
        change(engine, probe_at=DbNow(-ABANDONED_SECONDS - 1.0))
        assert rulings.end_abandoned({RELAY}) == [(What.SENDER, BAD, "old.example:25")]
        assert Counter((one.automatic, one.environment, one.transport) for one in in_force(engine)) == {
            (True, "", RELAY): 1,
            (True, "staging", "old.example:25"): 1,
            (False, "*", ""): 1,
        }

    def test_what_an_operator_paused_is_never_probed(self, engine: sa.Engine, rulings: Rulings) -> None:
        """It has no time for it."""
        with engine.begin() as connection:
            made = operators.pause(connection, What.DOMAIN, "slow.example", by="ann")
        assert not rulings.take_probe(made.id)
        assert not rulings.release(What.DOMAIN, "slow.example")


class TestTakingBack:
    """Refusals that every message meets are undone."""

    def take_back(self, rulings: Rulings, *ids: int) -> int:
        """What was refused at RCPT with 554."""
        return rulings.take_back(ids, phase=Phase.RCPT, code=554, delay=60.0)

    def test_what_failed_is_queued_again_uncounted(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Due after the delay, in the lane of its retries; the attempts say that they did not count, and why."""
        columns = {"code": 554, "reason": "refused", "attempts": 1}
        high = Posting(lane=Lane.HIGH)
        ids = put(engine, "a@one.example", "b@one.example", state=State.FAILED, posting=high, delivery=columns)
        for one in ids:
            attempt(engine, one)
        assert self.take_back(rulings, *ids) == 2
        found = rows(
            engine,
            OutboxDelivery.state,
            OutboxDelivery.attempts,
            OutboxDelivery.deferrals,
            OutboxDelivery.reason,
            OutboxDelivery.finished_at,
            OutboxDelivery.lane,
        )
        assert found == [("queued", 0, 1, "transport", None, Lane.HIGH.slot(retry=True))] * 2
        with engine.connect() as connection:
            now = connection.execute(sa.select(DbNow())).scalar_one()
        for (due,) in rows(engine, OutboxDelivery.due_at):
            assert (due - now).total_seconds() == pytest.approx(60, abs=10)
        assert rows(engine, OutboxAttempt.counted, OutboxAttempt.about) == [(False, "relay")] * 2

    def test_what_was_deferred_is_uncounted(self, engine: sa.Engine, rulings: Rulings) -> None:
        """It keeps the lane of its retries."""
        slot = Lane.NORMAL.slot(retry=True)
        columns = {"code": 554, "reason": "deferred", "attempts": 3, "lane": slot}
        ids = put(engine, "a@one.example", delivery=columns)
        assert self.take_back(rulings, *ids) == 1
        assert rows(engine, OutboxDelivery.attempts, OutboxDelivery.lane) == [(2, slot)]

    @pytest.mark.parametrize(
        ("state", "columns"),
        [
            (State.SENT, {"code": 554, "reason": "refused"}),
            (State.CANCELLED, {"code": 554, "reason": "refused"}),
            (State.UNCERTAIN, {"code": 554, "reason": "refused"}),
            (State.SENDING, {"code": 554, "reason": "deferred"}),
            (State.FAILED, {"code": 550, "reason": "refused"}),
            (State.FAILED, {"code": 554, "reason": "expired"}),
            (State.QUEUED, {"code": 554, "reason": None}),
            (State.QUEUED, {"code": 450, "reason": "deferred"}),
        ],
    )
    def test_what_is_no_longer_as_it_was_refused_stays(
        self, state: State, columns: dict[str, Any], engine: sa.Engine, rulings: Rulings
    ) -> None:
        """Sent, cancelled, claimed again, refused with another code since, or ended for another reason."""
        ids = put(engine, "a@one.example", state=state, delivery={**columns, "attempts": 1})
        assert self.take_back(rulings, *ids) == 0
        assert rows(engine, OutboxDelivery.state, OutboxDelivery.attempts) == [(state.value, 1)]

    def test_what_a_person_has_requeued_stays(self, engine: sa.Engine, rulings: Rulings) -> None:
        """It is due now, and its attempts count from nought."""
        columns = {"code": 554, "reason": "refused", "attempts": 1}
        (one,) = put(engine, "a@one.example", state=State.FAILED, delivery=columns)
        with engine.begin() as connection:
            assert transitions.requeue(connection, Filter(ids=(one,)), by="ann") == 1
        before = rows(engine, OutboxDelivery.due_at, OutboxDelivery.lane)
        assert self.take_back(rulings, one) == 0
        assert rows(engine, OutboxDelivery.due_at, OutboxDelivery.lane) == before

    def test_others_and_other_attempts_stay(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Only the deliveries that are named, and of their attempts those that were refused so."""
        columns = {"code": 554, "reason": "refused", "attempts": 1}
        one, other = put(engine, "a@one.example", "b@one.example", state=State.FAILED, delivery=columns)
        attempt(engine, one, code=450, phase="dot", verdict="transient")
        attempt(engine, one)
        attempt(engine, other)
        assert self.take_back(rulings, one) == 1
        assert rows(engine, OutboxDelivery.state) == [("queued",), ("failed",)]
        assert rows(engine, OutboxAttempt.counted) == [(True,), (False,), (True,)]


class TestRecent:
    """What a worker can learn from before its first attempt."""

    def test_the_last_attempts_the_oldest_first(self, engine: sa.Engine, rulings: Rulings) -> None:
        """As values, with what is needed to judge them."""
        ids = put(engine, *(f"r{n}@d{n}.example" for n in range(5)))
        for one in ids[:4]:
            attempt(engine, one)
        attempt(engine, ids[4], verdict="transient", phase="dot", code=451, enhanced="4.7.0", about="account")
        found = rulings.recent(3)
        assert [one.delivery for one in found] == ids[2:]
        assert [(one.sender, one.recipient) for one in found[:1]] == [("from@example.org", "r2@d2.example")]
        first, last = found[0].result, found[-1].result
        assert (first.verdict, first.phase, first.about) == (Verdict.PERMANENT, Phase.RCPT, None)
        assert str(first.reply) == "554 5.7.1 Relay access denied"
        assert (last.verdict, last.phase, last.about) == (Verdict.TRANSIENT, Phase.DOT, About.ACCOUNT)

    @pytest.mark.parametrize("values", [{"transport": "other.example:25"}, {"at": DbNow(-RECENT_SECONDS - 5)}])
    def test_another_relays_and_old_ones_teach_nothing(
        self, values: dict[str, Any], engine: sa.Engine, rulings: Rulings
    ) -> None:
        """They are of another relay, or another hour."""
        (one,) = put(engine, "r@one.example")
        attempt(engine, one, **values)
        assert rulings.recent(10) == []

    def test_other_environments_teach_nothing(self, engine: sa.Engine, rulings: Rulings) -> None:
        """Their mail goes by an account of its own, as a rule."""
        (one,) = put(engine, "r@one.example", posting=Posting(environment="staging"))
        attempt(engine, one)
        assert rulings.recent(10) == []
        assert len(Rulings(engine, environment="staging", transport=RELAY).recent(10)) == 1

    def test_an_unknown_word_of_a_later_release_is_none(self, engine: sa.Engine, rulings: Rulings) -> None:
        """The release before runs on what the release after has written."""
        (one,) = put(engine, "r@one.example")
        attempt(engine, one, about="planet")
        assert rulings.recent(10)[0].result.about is None


def _together(work: Any) -> list[Any]:
    """What two threads get that do the same at the same moment."""
    gate, results = threading.Barrier(2), []

    def run() -> None:
        gate.wait(10)
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 2, "one of them failed or waits"
    return results
