"""Addresses that get no mail: where they come from, what they stop, and what proves nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.retry import Decision, Reason
from outbox.delivery.states import State
from outbox.delivery.suppression import Why
from outbox.models import OutboxDelivery, OutboxEffect, OutboxEvent, OutboxSuppression
from outbox.operations import Filter, event_log, events, suppression_csv, suppression_search, suppressions, why_nothing
from outbox.operations.suppressions import Wanted
from outbox.operations.unsubscribing import LINK, Lists, Subscriber
from outbox.store.claimed import Claimed
from outbox.store.effect_queue import EffectQueue
from outbox.store.outcome import Outcome
from outbox.store.posting import Posting
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.store.suppressions import is_listed
from tests.db.mails import put

KEY = b"key"
SETTINGS = SimpleNamespace(address_digest_key=KEY, bounce_suppression_seconds=90 * 86_400.0)
NEWS = Posting(kind="news", category="subscription", address_key=KEY)
RESET = Posting(kind="reset", category="security", address_key=KEY)
GONE = Reply(550, "5.1.1", "no such user")


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    return Queue(engine, environment="", lease=60)


def claim(queue: Queue, limit: int = 100) -> list[Claimed]:
    return queue.claim(1, 4711, limit)


def record(engine: sa.Engine, *reported: ReportedEvent) -> list[events.Recorded]:
    return events.record(engine, SETTINGS, reported)


def bounce(delivery: int | None = None, *, id: str = "1", code: str = "5.1.1", **given: object) -> ReportedEvent:
    event = ReportedEvent(EventType.BOUNCED, "report", id, delivery_id=delivery, reply=replace(GONE, enhanced=code))
    return replace(event, **{"proven": True, **given})  # type: ignore[arg-type]


def listed(engine: sa.Engine, address: str) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        found = suppressions.entries(connection, Wanted(address=address), address_key=KEY)
    return [(one.scope, one.reason.value) for one in found]


def test_a_bounce_stops_all_but_security(engine: sa.Engine, queue: Queue) -> None:
    [sent] = put(engine, "Ann@Example.org", state=State.SENT, posting=NEWS)
    [recorded] = record(engine, bounce(sent))
    assert (recorded.delivery_id, listed(engine, "ann@example.org")) == (sent, [("all", "bounced")])
    [news], [reset], [other] = (
        put(engine, address, posting=posting)
        for address, posting in (("ann@example.org", NEWS), ("ann@example.org", RESET), ("bob@example.org", NEWS))
    )
    found = {one.id: one.suppressed for one in claim(queue)}
    assert found.keys() == {news, reset, other}
    assert [id for id, stop in found.items() if stop is not None] == [news]
    assert str(found[news]).startswith("the address is suppressed for all mail: bounced, since ")


@pytest.mark.parametrize("ended", ["until", "lifted", "delivered", "unsuppressed"])
def test_the_end_of_a_suppression(engine: sa.Engine, queue: Queue, ended: str) -> None:
    [sent] = put(engine, "ann@example.org", state=State.SENT, posting=NEWS)
    settings = SimpleNamespace(address_digest_key=KEY, bounce_suppression_seconds=0.001 if ended == "until" else 900.0)
    events.record(engine, settings, [bounce(sent)])
    put(engine, "ann@example.org", posting=NEWS, delivery={"unsuppressed": ended == "unsuppressed"})
    if ended == "lifted":
        with engine.begin() as connection:
            assert suppressions.lift(connection, "ANN@example.org", by="chief", address_key=KEY) == 1
            [entry] = operations.audit.recent(connection)
        assert (entry.action, entry.by, entry.filters) == ("unsuppress", "chief", "ANN@example.org")
    if ended == "delivered":
        record(engine, replace(bounce(sent, id="2"), type=EventType.DELIVERED))
    [one] = claim(queue)
    assert one.suppressed is None


def test_what_a_worker_is_told_counts_as_a_bounce(engine: sa.Engine, queue: Queue) -> None:
    """In the transaction that records it; written once, however often that is repeated."""
    put(engine, "ann@example.org", "bob@example.org", "cy@example.org", posting=NEWS)
    store = OutcomeStore(engine, bounce_seconds=900.0)
    said = {
        "ann@example.org": (GONE, Phase.RCPT),
        "bob@example.org": (Reply(550, "5.7.1", "blocked"), Phase.RCPT),
        "cy@example.org": (GONE, Phase.DOT),  # about the message: no proof that the address is at fault
    }
    outcomes = []
    for one in claim(queue):
        reply, phase = said[one.recipient]
        result = Result(Verdict.PERMANENT, phase, reply, duration=0.1)
        decision = Decision(State.FAILED, Reason.REFUSED, counted=True)
        outcomes.append(Outcome.of(one, decision, result, "relay:25"))
    for _ in range(2):
        assert store.record(1, outcomes) == set()
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxEvent)).all()
        attempts = connection.execute(sa.select(OutboxDelivery.state)).scalars().all()
    assert [(row.type, row.source, row.recipient, row.enhanced, row.tied) for row in rows] == [
        ("bounced", "smtp", "ann@example.org", "5.1.1", "attempt")
    ]
    assert set(attempts) == {"failed"}
    assert [listed(engine, address) for address in said] == [[("all", "bounced")], [], []]


def test_never_where_the_settings_say_so(engine: sa.Engine) -> None:
    [sent] = put(engine, state=State.SENT, posting=NEWS)
    events.record(engine, SimpleNamespace(address_digest_key=KEY, bounce_suppression_seconds=0.0), [bounce(sent)])
    assert listed(engine, "to@example.org") == []


def test_a_disabled_mailbox_counts_the_second_time(engine: sa.Engine) -> None:
    first, second = (put(engine, state=State.SENT, posting=NEWS)[0] for _ in range(2))
    record(engine, bounce(first, code="5.2.1"), bounce(first, id="2", code="5.2.1"))
    assert listed(engine, "to@example.org") == []  # one message, reported twice
    record(engine, bounce(second, id="3", code="5.2.1"))
    assert listed(engine, "to@example.org") == [("all", "bounced")]


def test_not_after_a_day(engine: sa.Engine) -> None:
    first, second = (put(engine, state=State.SENT, posting=NEWS)[0] for _ in range(2))
    record(engine, bounce(first, code="5.2.1"))
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxEvent).values(recorded_at=datetime.now(UTC) - timedelta(hours=25)))
    record(engine, bounce(second, id="2", code="5.2.1"))
    assert listed(engine, "to@example.org") == []


@pytest.mark.parametrize(
    "given",
    [
        {"proven": False},
        {"delivery_id": None, "recipient": "ann@example.org"},  # nothing of ours
        {"delivery_id": None, "message_id": "<1@example.org>", "recipient": "victim@example.org"},
        {"delivery_id": None, "message_id": "<other@example.org>", "recipient": "ann@example.org"},
        {"delivery_id": 10**30},
    ],
)
def test_without_proof_nothing_is_suppressed(engine: sa.Engine, given: dict[str, object]) -> None:
    """It is stored, and shown."""
    [sent] = put(engine, "ann@example.org", state=State.SENT, posting=NEWS)
    [recorded] = record(engine, bounce(sent, **given))
    assert recorded.id is not None
    assert recorded.follows is None
    assert listed(engine, "ann@example.org") == listed(engine, "victim@example.org") == []


def test_how_an_event_finds_its_delivery(engine: sa.Engine, queue: Queue) -> None:
    """By the relay's id, by the Message-ID, by an address for the whole message; for one recipient of several."""
    ann, bob = put(engine, "ann@example.org", "bob@example.org", posting=NEWS)
    accepted = Result.accepted("relay-1")
    outcomes = [Outcome.of(one, Decision(State.SENT, None, counted=True), accepted, "relay:25") for one in claim(queue)]
    OutcomeStore(engine).record(1, outcomes)
    with engine.connect() as connection:
        pk = connection.execute(sa.select(OutboxDelivery.message_id)).scalars().first()
    ways = [{"relay_id": "relay-1"}, {"message_id": "<1@example.org>"}, {"message_pk": pk}]
    found = record(
        engine,
        *(bounce(id=f"{n} {who}", recipient=f"{who}@EXAMPLE.org", **way)  # type: ignore[arg-type]
          for n, way in enumerate(ways) for who in ("ann", "bob", "eve")),
        bounce(id="nobody", relay_id="relay-1"),
    )  # fmt: skip
    assert [one.delivery_id for one in found] == [ann, bob, None] * 3 + [None]


@pytest.mark.parametrize("several", [False, True])
def test_no_recipient_complains_for_another(engine: sa.Engine, several: bool) -> None:
    """All recipients of a message can read the address that is signed for it; a complaint suppresses for good."""
    ids = put(engine, "ann@example.org", *(["bob@example.org"] if several else []), state=State.SENT, posting=NEWS)
    with engine.connect() as connection:
        pk = connection.execute(sa.select(OutboxDelivery.message_id)).scalars().first()
    [found] = record(engine, bounce(message_pk=pk, type=EventType.COMPLAINED, recipient="ann@example.org", reply=None))
    assert (found.delivery_id, found.event.proven) == (ids[0], not several)
    assert len(listed(engine, "ann@example.org")) == (0 if several else 1)
    if several:  # as does a token of her own
        record(engine, bounce(ids[0], id="2", type=EventType.COMPLAINED, reply=None))
        assert len(listed(engine, "ann@example.org")) == 1


def test_forwarded_mail_bounces_for_another_address(engine: sa.Engine) -> None:
    """Ours is what was signed; the other is not known here."""
    [sent] = put(engine, "ann@example.org", state=State.SENT, posting=NEWS)
    [recorded] = record(engine, bounce(sent, recipient="ann@home.example"))
    assert recorded.delivery_id == sent
    assert (listed(engine, "ann@example.org"), listed(engine, "ann@home.example")) == ([("all", "bounced")], [])


def test_the_same_event_again_and_at_once(engine: sa.Engine) -> None:
    [sent] = put(engine, state=State.SENT, posting=NEWS)
    barrier, found = threading.Barrier(4), []

    def work() -> None:
        barrier.wait()
        found.extend(record(engine, *(bounce(sent, id=str(number)) for number in range(5))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 20
    assert sum(one.id is not None for one in found) == 5
    assert listed(engine, "to@example.org") == [("all", "bounced")]


def test_an_unsubscription_and_a_complaint(engine: sa.Engine) -> None:
    [sent] = put(engine, state=State.SENT, posting=NEWS)
    record(
        engine,
        replace(bounce(sent), type=EventType.UNSUBSCRIBED),
        replace(bounce(sent, id="2"), type=EventType.COMPLAINED),
        replace(bounce(sent, id="3"), type=EventType.AUTORESPONDED),
    )
    assert listed(engine, "to@example.org") == [
        ("category:subscription", "complained"),
        ("kind:news", "unsubscribed"),
    ]


def test_a_persons_suppression(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert suppressions.suppress(connection, "to@example.org", by="chief", address_key=KEY, note="asked for it")
        assert not suppressions.suppress(connection, "TO@example.org", by="chief", address_key=KEY)
        with pytest.raises(ValueError, match="not all, category:NAME or kind:NAME"):
            suppressions.suppress(connection, "to@example.org", "everything", by="chief", address_key=KEY)
        [entry] = suppressions.every(connection, Wanted(contains="TO@"), address_key=KEY, page=1)
    assert (entry.address, entry.scope, entry.reason, entry.actor) == ("to@example.org", "all", Why.MANUAL, "chief")


@pytest.mark.parametrize(("reason", "passes"), [("suppression", True), ("refused", True), ("attempts", False)])
def test_requeueing_sends_what_its_address_stopped(engine: sa.Engine, queue: Queue, reason: str, passes: bool) -> None:
    """What failed for another reason meets the list again."""
    ids = put(engine, state=State.FAILED, posting=NEWS, delivery={"reason": reason})
    with engine.begin() as connection:
        suppressions.suppress(connection, "to@example.org", by="chief", address_key=KEY)
        assert operations.requeue(connection, Filter(ids=tuple(ids)), by="chief") == 1
    [one] = claim(queue)
    assert (one.suppressed is None) is passes


def test_digests_that_begin_alike_are_two(engine: sa.Engine, queue: Queue) -> None:
    """MariaDB's index holds only how a digest begins."""
    [id] = put(engine, posting=NEWS)
    with engine.begin() as connection:
        own = connection.execute(sa.select(OutboxDelivery.digest).where(OutboxDelivery.id == id)).scalar_one()
        other = own[:30] + ("00" if own[30:] != "00" else "11")
        row = {"digest": other, "scope": "all", "reason": "manual", "actor": "chief", "since": datetime.now(UTC)}
        connection.execute(sa.insert(OutboxSuppression).values(row))
        assert connection.execute(sa.select(OutboxDelivery.id).where(is_listed())).all() == []
    assert [one.suppressed for one in claim(queue)] == [None]


def test_an_import_is_the_same_twice(engine: sa.Engine) -> None:
    """On each database: new, changed and unchanged are told apart, and what had ended begins again."""
    now = datetime.now(UTC)
    far, past = now + timedelta(days=9), now - timedelta(days=9)

    def done(*lines: suppression_csv.Line) -> tuple[int, int, int]:
        [one] = suppression_csv.import_(engine, lines, by="chief", address_key=KEY, words="import")
        return one.new, one.changed, one.there

    ann = suppression_csv.Line(2, "Ann@example.org", "all", Why.BOUNCED, far, "gone")
    ben = suppression_csv.Line(3, "ben@example.org", "kind:news", Why.MANUAL, None, None)
    assert [done(ann, ben), done(ann, ben, replace(ben, number=4))] == [(2, 0, 0), (0, 0, 3)]
    assert done(replace(ann, until=None), ben) == (0, 1, 1)
    table = OutboxSuppression.__table__
    with engine.begin() as connection:
        connection.execute(sa.update(table).values(until=past, since=past))
    assert (done(ann, ben), listed(engine, "ann@example.org")) == ((0, 2, 0), [("all", "bounced")])
    with engine.connect() as connection:
        assert {row.since > past for row in connection.execute(sa.select(table))} == {True}


def test_a_search_is_bounded_and_goes_on(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of an address is looked for window by window; with no time left the page says how far it came."""
    monkeypatch.setattr(suppression_search, "WINDOW", 2)
    with engine.begin() as connection:
        for name in ("ann", "ben", "cy", "ann2", "dee"):
            suppressions.suppress(connection, f"{name}@example.org", by="chief", address_key=KEY)
    wanted = suppression_search.wanted_by("ann")
    with engine.connect() as connection:
        whole = suppression_search.search(connection, wanted, address_key=KEY, seconds=60)
        assert ([one.address for one in whole.rows], whole.older) == (["ann2@example.org", "ann@example.org"], None)
        first = suppression_search.search(connection, wanted, address_key=KEY, limit=1, seconds=60)
        assert ([one.address for one in first.rows], first.looked) == (["ann2@example.org"], None)
        part = suppression_search.search(connection, wanted, address_key=KEY, seconds=0)
        assert ([one.address for one in part.rows], part.looked) == (["ann2@example.org"], 2)
        rest = suppression_search.search(connection, wanted, address_key=KEY, before=part.older, seconds=60)
        assert [one.address for one in rest.rows] == ["ann@example.org"]
        assert suppression_search.search(
            connection, suppression_search.wanted_by("ben@EXAMPLE.org"), address_key=KEY
        ).rows


def test_of_several_at_once_one_is_the_first(engine: sa.Engine) -> None:
    """So one unsubscription leaves one event, however often and from wherever the link is posted to."""
    barrier, new = threading.Barrier(4), []

    def work() -> None:
        for number in range(10):
            barrier.wait()
            with engine.begin() as connection:
                subscriber = Subscriber(connection, f"{number}@example.org", Lists(("news",), "", KEY), LINK)
                new.append(subscriber.unsubscribe("kind:news") is not None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(new), sum(new)) == (40, 10)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(OutboxEvent)).scalar_one() == 10


def test_every_spelling_of_an_address_is_looked_up(engine: sa.Engine) -> None:
    """What was sent, what failed and what waits, whether the question is asked in another case, and by an index."""
    [sent] = put(engine, "Ann.Lee@Example.org", state=State.SENT, posting=NEWS)
    [failed] = put(engine, "ann.LEE@example.org", state=State.FAILED, posting=NEWS)
    [waiting] = put(engine, "Ann.Lee@Example.org", posting=NEWS)
    put(engine, "ann.lee+shop@example.org", "ben@example.org", posting=NEWS)
    for asked in ("ann.lee@example.org", "ANN.LEE@EXAMPLE.ORG", " Ann.Lee@example.org."):
        with engine.connect() as connection:
            report = why_nothing.look_up(connection, asked, address_key=KEY)
        assert [one.id for one in report.deliveries] == [waiting, failed, sent]


def test_what_its_source_calls_temporary_suppresses_nothing(engine: sa.Engine) -> None:
    """Whatever its code; nor does it count as the first of two. It is stored and shown as such."""
    first, second = (put(engine, state=State.SENT, posting=NEWS)[0] for _ in range(2))
    record(engine, bounce(first, soft=True), bounce(first, id="2", code="5.2.1", soft=True))
    record(engine, bounce(second, id="3", code="5.2.1"))
    assert listed(engine, "to@example.org") == []
    with engine.connect() as connection:
        shown = [str(one) for one in event_log.of_delivery(connection, first)]
    assert shown == ["bounced (temporary): 5.1.1 no such user", "bounced (temporary): 5.2.1 no such user"]
    record(engine, bounce(second, id="4"))
    assert listed(engine, "to@example.org") == [("all", "bounced")]


class Told:
    """A listener to everything of these kinds."""

    def names(self, type: str, kind: str | None) -> list[str]:
        return [f"{type} {kind}", "all"]

    def recorded(self, events: Sequence[Any]) -> None:
        pass


@pytest.mark.parametrize("has_mail", [True, False])
def test_an_unsubscription_is_tied_and_told(engine: sa.Engine, has_mail: bool) -> None:
    """Of the newest delivery of that list to the address, if there is one; what it stops names its event."""
    ids = [None]
    if has_mail:
        news, other = (Posting(kind=kind, category="subscription", address_key=KEY) for kind in ("news", "tips"))
        put(engine, "ann@example.org", posting=news)
        ids = put(engine, "ann@example.org", posting=news, message_id="<2@example.org>")
        put(engine, "ann@example.org", posting=other, message_id="<3@example.org>")
        put(engine, "bob@example.org", posting=news, message_id="<4@example.org>")
    lists = Lists(("news", "tips"), "", KEY, Told())
    with engine.begin() as connection:
        subscriber = Subscriber(connection, "ann@example.org", lists, LINK)
        assert subscriber.unsubscribe("kind:news") is not None
        assert subscriber.unsubscribe("kind:news") is None
        [recorded] = subscriber.recorded
        assert [(one.kind, one.on) for one in subscriber.preferences().of] == [("news", False), ("tips", True)]
    with engine.connect() as connection:
        assert connection.scalars(sa.select(OutboxEvent.delivery_id)).all() == ids
        assert connection.scalars(sa.select(OutboxSuppression.event_id)).all() == [recorded.id]
        told = connection.execute(sa.select(OutboxEffect.name, OutboxEffect.delivery_id, OutboxEffect.environment))
        assert sorted(told.all()) == [("all", ids[0], ""), ("unsubscribed news", ids[0], "")]
    queue = EffectQueue(engine, "")
    [due] = queue.claim("all", 10, 60)
    assert due.event is not None
    assert (due.event.recipient, due.event.kind, due.event.scope) == ("ann@example.org", "news", "kind:news")
    assert (due.event.delivery_id, due.event.message_id is None) == (ids[0], not has_mail)
