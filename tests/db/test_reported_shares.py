"""How much of what was sent was complained about or bounced, and from where on that is a problem."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.delivery.states import State
from outbox.models import OutboxEvent
from outbox.operations import Alarms, Filter, Status, browse, find, reported_shares, status
from outbox.operations.hits import hits
from outbox.store.types import DbNow
from tests.db.mails import put
from tests.db.test_plans import plans, scans, seen_by

DAY = 86_400.0
COMPLAINED, BOUNCED = EventType.COMPLAINED, EventType.BOUNCED


def look(engine: sa.Engine, **alarms: Any) -> Status:
    with engine.connect() as connection:
        return status(connection, dead_after=20.0, alarms=Alarms(**alarms))


def sent(engine: sa.Engine, number: int, sender: str = "from@Shop.example", ago: float = DAY, **of: Any) -> list[int]:
    """So many deliveries of one message."""
    to = [f"{sender[0]}{n}@example.org" for n in range(number)]
    return put(engine, *to, state=of.pop("state", State.SENT), ago=ago, envelope_from=sender, **of)


def reported(engine: sa.Engine, type: EventType, ids: list[int], times: int = 1, **of: Any) -> None:
    """That each of them was complained about, or bounced, by a source that is known."""
    rows = [
        {"delivery_id": id, "event_id": f"{type}{id}.{time}", "type": type.value, "source": "ses", "proven": True} | of
        for id in ids
        for time in range(times)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxEvent).values(at=DbNow(), recorded_at=DbNow()), rows)


def shares(seen: Status) -> list[tuple[Any, ...]]:
    return [(one.type, one.transport, one.sender_domain, one.reported, one.sent) for one in seen.reported]


def test_too_many_complaints_are_a_problem(engine: sa.Engine) -> None:
    """By the sender's domain and the transport, once for each message, however often and from whom it is said twice."""
    ses = sent(engine, 800, delivery={"transport": "ses"})
    other = sent(engine, 100, "x@other.example", delivery={"transport": "ses"})
    reported(engine, COMPLAINED, ses[:5], times=2)
    reported(engine, COMPLAINED, other[:1])
    seen = look(engine)
    assert shares(seen) == [
        (COMPLAINED, "ses", "other.example", 1, 100),
        (COMPLAINED, "ses", "shop.example", 5, 800),
    ]
    assert seen.problem_kinds == ["complained"]
    assert seen.problems[0].startswith(
        "5 of 800 messages from shop.example by ses, sent within 7 d, were complained about (0.62 %): Gmail and Yahoo "
        "ask for less than 0.1 %, and refuse mail from 0.3 % on."
    )


@pytest.mark.parametrize(
    ("number", "alarms", "healthy"),
    [(1, {}, True), (4, {}, True), (5, {}, False), (5, {"complained": 0.6}, True), (5, {"complained": 0.0}, True)],
)
def test_few_are_none(engine: sa.Engine, number: int, alarms: dict[str, float], healthy: bool) -> None:
    """One complaint about ten messages is a tenth, and says nothing; limits can be set."""
    reported(engine, COMPLAINED, sent(engine, 10)[:number])
    assert look(engine, **alarms).healthy is healthy


def test_what_counts_as_bounced(engine: sa.Engine) -> None:
    """Refused recipients, too; not what is temporary, not proven, or about older mail."""
    taken = sent(engine, 90)
    refused = sent(engine, 10, state=State.FAILED)
    old = sent(engine, 50, ago=8 * DAY)
    reported(engine, BOUNCED, refused, source="smtp")
    reported(engine, BOUNCED, taken[:2])
    reported(engine, BOUNCED, taken[10:30], soft=True)
    reported(engine, BOUNCED, taken[30:60], proven=False)
    reported(engine, BOUNCED, old)
    seen = look(engine)
    assert (shares(seen), seen.problem_kinds) == ([(BOUNCED, None, "shop.example", 12, 100)], ["bounced"])
    assert "12 of 100 messages from shop.example, sent within 7 d, bounced (12 %): " in seen.problems[0]
    assert look(engine, bounced=0.13).healthy


def test_much_mail_is_estimated(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the newest of each part of the time; who is hardly among them is not judged."""
    monkeypatch.setattr(reported_shares, "SAMPLE", 20)
    rare = sent(engine, 6, "x@rare.example", ago=DAY + 60)
    much = sent(engine, 300, ago=DAY) + sent(engine, 40, ago=3 * DAY)
    reported(engine, BOUNCED, much[:50])
    reported(engine, BOUNCED, rare)
    assert shares(look(engine)) == [(BOUNCED, None, "shop.example", 50, 346)]
    monkeypatch.setattr(reported_shares, "ENOUGH", 100)
    (one,) = look(engine).reported
    assert (one.sent, one.seconds) == (306, DAY + DAY / 4)  # no further back than necessary


@pytest.mark.parametrize("oldest", [False, True])
def test_mail_with_an_event_is_found_by_index(engine: sa.Engine, oldest: bool) -> None:
    """In the order of the mail, however long its history; by page and all at once alike."""
    ids = sent(engine, 300)
    chosen = ids[::7]
    reported(engine, COMPLAINED, chosen[::-1], times=2)
    reported(engine, BOUNCED, ids)
    wanted = Filter(event=COMPLAINED, states=(State.SENT,))
    with engine.connect() as connection:
        after = {"after": chosen[9]} if oldest else {"before": chosen[-10]}
        first = find(connection, wanted, oldest_first=oldest, limit=10)
        then = find(connection, wanted, oldest_first=oldest, limit=10, **after)
        page = browse(connection, Filter(event=COMPLAINED), oldest_first=oldest, limit=10, seconds=0.0)
    in_order = chosen if oldest else chosen[::-1]
    assert [row.id for row in first + then] == in_order[:20]
    assert ([row.id for row in page.rows], page.total, page.complete) == (in_order[:10], len(chosen), True)

    def found() -> None:
        with engine.connect() as connection:
            connection.execute(hits(wanted, None, 10**9, oldest_first=oldest).limit(11)).all()

    (plan,) = plans(engine, seen_by(engine, found))
    assert "ix_outbox_event_type" in plan
    assert scans(plan, engine.dialect.name) == []
