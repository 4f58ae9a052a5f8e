"""Sending queued mail now or at another time, and the Date that it carries then; on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from typing import Any

import flask_mail
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.delivery.states import Lane, State
from outbox.extension.draft import draft_of
from outbox.message.compose import compose, new_unique
from outbox.models import OutboxAttempt, OutboxAudit, OutboxDelivery, OutboxMessage
from outbox.operations import Filter, audit, browse, reschedule, send_now, send_now_in_batches, wire
from outbox.store.enqueue import Posting, enqueue
from outbox.store.queue import Queue
from outbox.store.types import DbNow

WEEK = timedelta(days=7)
BIG = b"x" * 20_000


def written(engine: sa.Engine, *recipients: str, send_at: datetime | None = None, **options: Any) -> int:
    """A composed and committed message with an attachment that is kept apart; its primary key."""
    now = datetime.now(UTC)
    date, lane = options.pop("date", None), options.pop("lane", Lane.NORMAL)
    message = flask_mail.Message.__new__(flask_mail.Message)
    message.__dict__.update(
        subject="Report", sender="from@example.org", recipients=list(recipients) or ["a@example.org"], body="hello",
        html=None, alts={}, cc=[], bcc=[], attachments=[flask_mail.Attachment("r.bin", "application/x", BIG)],
        reply_to=None, date=date, charset=None, extra_headers=None, mail_options=[], rcpt_options=[], msgId="<x@y>",
    )  # fmt: skip
    dated = max(now, send_at or now)
    composed = compose(draft_of(message), default_sender=None, now=dated, max_bytes=10**6, unique=new_unique())
    with Session(engine) as session:
        made, _ = enqueue(session, composed, Posting(send_at=send_at, lane=lane, **options))
        session.commit()
        return made.id


def deliveries(engine: sa.Engine, pk: int) -> list[Any]:
    with engine.connect() as connection:
        rows = sa.select(OutboxDelivery.__table__).where(OutboxDelivery.message_id == pk)
        return list(connection.execute(rows.order_by(OutboxDelivery.id)))


def ids(engine: sa.Engine, pk: int) -> tuple[int, ...]:
    return tuple(row.id for row in deliveries(engine, pk))


def raw(engine: sa.Engine, pk: int) -> bytes:
    with engine.connect() as connection:
        return wire(connection, pk)


def dated(engine: sa.Engine, pk: int) -> datetime:
    return parsedate_to_datetime(str(message_from_bytes(raw(engine, pk))["Date"]))


def change(engine: sa.Engine, pk: int, **columns: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.message_id == pk).values(**columns))


def now(engine: sa.Engine, wanted: Filter, **options: Any) -> int:
    with engine.begin() as connection:
        return send_now(connection, wanted, by="ann", **options)


def close(first: datetime | None, second: datetime) -> bool:
    return first is not None and abs(first - second) < timedelta(seconds=60)


def test_a_scheduled_message_is_due_at_once_and_dated_anew(engine: sa.Engine) -> None:
    """Nothing else of it changes, its big part included, and both changes are in the audit."""
    at = datetime.now(UTC) + WEEK
    pk = written(engine, send_at=at)
    assert close(dated(engine, pk), at)
    before = raw(engine, pk)
    assert now(engine, Filter(ids=ids(engine, pk)), note="asked for") == 1
    (row,) = deliveries(engine, pk)
    assert close(row.due_at, datetime.now(UTC))
    assert close(dated(engine, pk), datetime.now(UTC))
    after = raw(engine, pk)
    changed = [line for line, other in zip(after.split(b"\r\n"), before.split(b"\r\n"), strict=True) if line != other]
    assert [line[:6] for line in changed] == [b"Date: "]
    with engine.connect() as connection:
        entries = audit.recent(connection)
        headers = dict(connection.execute(sa.select(OutboxMessage.headers)).scalar_one())
    assert [(one.action, one.by, one.count, one.delivery_ids) for one in entries] == [
        ("send-now", "ann", 1, ids(engine, pk)),
        ("rewrite-date", "ann", 1, ids(engine, pk)),
    ]
    assert entries[0].note == "asked for"
    assert headers["Date"].encode() in after


def test_another_time_and_back(engine: sa.Engine) -> None:
    """The Date follows each time; mail that would expire before lives on."""
    at = datetime.now(UTC) + WEEK
    pk = written(engine, send_at=at, expires_at=at + timedelta(days=1))
    later, wanted = at + WEEK, Filter(ids=ids(engine, pk))
    with engine.begin() as connection:
        assert reschedule(connection, wanted, later, by="ann") == 1
    assert close(deliveries(engine, pk)[0].due_at, later)
    assert close(dated(engine, pk), later)
    with engine.connect() as connection:
        assert connection.execute(sa.select(OutboxMessage.expires_at)).scalar_one() is None
    with engine.begin() as connection, pytest.raises(ValueError, match="time zone"):
        reschedule(connection, Filter(ids=(1,)), datetime(2030, 1, 1), by="ann")  # noqa: DTZ001


def test_a_date_that_the_application_gave_stays(engine: sa.Engine) -> None:
    """It means something to its author."""
    given = datetime(2024, 2, 29, 12, tzinfo=UTC)
    pk = written(engine, send_at=datetime.now(UTC) + WEEK, date=given.timestamp())
    assert now(engine, Filter(ids=ids(engine, pk))) == 1
    assert dated(engine, pk) == given
    with engine.connect() as connection:
        assert [one.action for one in audit.recent(connection)] == ["send-now"]


@pytest.mark.parametrize(
    "columns",
    [
        {"attempts": 1, "lane": Lane.NORMAL.slot(retry=True)},
        {"deferrals": 1},
        {"rescues": 1},
        {"marked_at": DbNow()},
    ],
)
def test_a_message_that_may_have_been_offered_keeps_its_bytes(engine: sa.Engine, columns: dict[str, Any]) -> None:
    """The same on every attempt; attempts and lane stay as well."""
    pk = written(engine, send_at=datetime.now(UTC) + WEEK)
    before = raw(engine, pk)
    change(engine, pk, **columns)
    was = deliveries(engine, pk)[0]
    assert now(engine, Filter(ids=ids(engine, pk))) == 1
    row = deliveries(engine, pk)[0]
    assert close(row.due_at, datetime.now(UTC))
    assert (row.attempts, row.lane, row.deferrals, row.rescues) == (was.attempts, was.lane, was.deferrals, was.rescues)
    assert raw(engine, pk) == before


def test_one_attempt_of_another_recipient_is_enough(engine: sa.Engine) -> None:
    """Requeued mail has no attempts any more, but their rows; and all recipients have the same bytes."""
    pk = written(engine, "a@example.org", "b@example.org", send_at=datetime.now(UTC) + WEEK)
    before = raw(engine, pk)
    first, second = ids(engine, pk)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(OutboxAttempt).values(
                delivery_id=first, at=DbNow(), phase="rcpt", verdict="transient", reply="", duration=0.1, counted=True
            )
        )
    assert now(engine, Filter(ids=(second,))) == 1
    assert raw(engine, pk) == before


def test_the_date_is_that_of_the_first_recipient(engine: sa.Engine) -> None:
    """The bytes are one for all; a cancelled one does not count."""
    at = datetime.now(UTC) + WEEK
    pk = written(engine, "a@example.org", "b@example.org", send_at=at)
    first, second = ids(engine, pk)
    with engine.begin() as connection:
        reschedule(connection, Filter(ids=(second,)), at + WEEK, by="ann")
    assert close(dated(engine, pk), at)
    with engine.begin() as connection:
        connection.execute(
            sa.update(OutboxDelivery)
            .where(OutboxDelivery.id == first)
            .values(state=State.CANCELLED.value, due_at=None, finished_at=DbNow())
        )
        reschedule(connection, Filter(ids=(second,)), at + 2 * WEEK, by="ann")
    assert close(dated(engine, pk), at + 2 * WEEK)


def test_what_a_worker_holds_is_left_alone(engine: sa.Engine) -> None:
    """Neither its lease nor the bytes, though another recipient of the message waits."""
    at = datetime.now(UTC) + WEEK
    pk = written(engine, "a@example.org", "b@example.org", send_at=at)
    first, second = ids(engine, pk)
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id == first).values(due_at=DbNow()))
    queue = Queue(engine, environment="", lease=60.0)
    worker_id = queue.register(host="here", pid=1, version="1", connections=1)
    (claimed,) = queue.claim(worker_id, 77, 10)
    lease = deliveries(engine, pk)[0]
    before = raw(engine, pk)
    assert now(engine, Filter(ids=(first, second))) == 1
    row = deliveries(engine, pk)[0]
    assert (row.state, row.token, row.due_at) == ("sending", 77, lease.due_at)
    assert raw(engine, pk) == before
    assert claimed.id == first


@pytest.mark.databases("postgresql", "mariadb")
def test_no_worker_takes_it_before_its_date_is_written(engine: sa.Engine) -> None:
    """While the change is not committed a claim passes all recipients of the message over."""
    pk = written(engine, "a@example.org", "b@example.org", send_at=datetime.now(UTC) + WEEK)
    first, second = ids(engine, pk)
    queue = Queue(engine, environment="", lease=60.0)
    worker_id = queue.register(host="here", pid=1, version="1", connections=1)
    claims: list[int] = []
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxDelivery).where(OutboxDelivery.id == second).values(due_at=DbNow(-1)))
    with engine.begin() as connection:
        send_now(connection, Filter(ids=(first,)), by="ann")
        thread = threading.Thread(target=lambda: claims.append(len(queue.claim(worker_id, 1, 10))))
        thread.start()
        thread.join(30)
    assert claims == [0]
    assert len(queue.claim(worker_id, 2, 10)) == 2


def test_only_what_waits_is_taken(engine: sa.Engine) -> None:
    """Not what is due already, nor any other state; many in batches, as one line in the audit."""
    waiting = [written(engine, send_at=datetime.now(UTC) + WEEK) for _ in range(3)]
    due = written(engine)
    failed = written(engine)
    change(engine, failed, state=State.FAILED.value, due_at=None, finished_at=DbNow())
    everything = Filter(recipient="a@example.org")
    with engine.connect() as connection:
        page = browse(connection, replace(everything, waiting=True), seconds=5.0)
    assert {row.message_id for row in page.rows} == set(waiting)
    assert sum(len(batch.changed) for batch in send_now_in_batches(engine, everything, by="ann")) == 3
    assert [deliveries(engine, pk)[0].state for pk in (due, failed)] == ["queued", "failed"]
    with engine.connect() as connection:
        counts = {one.action: one.count for one in audit.recent(connection)}
    assert counts == {"send-now": 3, "rewrite-date": 3}
    assert now(engine, everything) == 0
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(OutboxAudit)).scalar_one() == 2


def test_an_empty_filter_is_refused(engine: sa.Engine) -> None:
    """It would mean all mail."""
    with engine.begin() as connection, pytest.raises(ValueError, match="empty filter"):
        send_now(connection, Filter(), by="ann")


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_is_kept(engine: sa.Engine, limit: int) -> None:
    """The oldest first."""
    pks = [written(engine, send_at=datetime.now(UTC) + WEEK) for _ in range(3)]
    assert now(engine, Filter(states=(State.QUEUED,)), limit=limit) == limit
    due: Callable[[int], bool] = lambda pk: close(deliveries(engine, pk)[0].due_at, datetime.now(UTC))  # noqa: E731
    assert [due(pk) for pk in pks] == [True] * limit + [False] * (3 - limit)
