"""Lists of what waits and why, by time and by metadata, and figures by kind: the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Filter, Waits
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import put


def metadata(engine: sa.Engine, id: int, value: object) -> None:
    with engine.begin() as connection:
        message = sa.select(DELIVERY.c.message_id).where(DELIVERY.c.id == id)
        pk = connection.execute(message).scalar_one()
        connection.execute(MESSAGE.update().where(MESSAGE.c.id == pk).values(metadata=value))


def test_due_scheduled_and_deferred_are_three_lists(engine: sa.Engine) -> None:
    """Each queued message is in one of them, whatever the database."""
    later = datetime.now(UTC) + timedelta(hours=2)
    ids = {
        Waits.DUE: put(engine, "due@example.org")[0],
        Waits.SCHEDULED: put(engine, "scheduled@example.org", delivery={"due_at": later})[0],
        Waits.DEFERRED: put(
            engine, "deferred@example.org", delivery={"due_at": later, "attempts": 1, "reason": "deferred"}
        )[0],
    }
    put(engine, "sent@example.org", state=State.SENT)
    with engine.connect() as connection:
        for waits, id in ids.items():
            assert [row.id for row in operations.find(connection, Filter(waits=waits))] == [id]
            assert [row.id for row in operations.browse(connection, Filter(waits=waits)).rows] == [id]
            assert str(Filter(waits=waits)) == f"waits={waits}"


def test_times_from_and_until_and_the_oldest_first(engine: sa.Engine) -> None:
    """Twelve messages, an hour apart: what was enqueued between two of them, from either end, page by page."""
    ids = [put(engine, f"u{hour}@example.org", ago=hour * 3600.0)[0] for hour in range(12, 0, -1)]
    now = datetime.now(UTC)
    wanted = Filter(
        enqueued_from=now - timedelta(hours=9, minutes=30), enqueued_until=now - timedelta(hours=3, minutes=30)
    )
    expected = ids[3:9]
    with engine.connect() as connection:
        assert [row.id for row in operations.find(connection, wanted, oldest_first=True)] == expected
        for window in (1, 2, 1000):
            seen: list[int] = []
            place: int | None = None
            while True:
                page = operations.browse(
                    connection, wanted, after=place, oldest_first=True, limit=4, seconds=0.0, window=window
                )
                seen += [row.id for row in page.rows]
                place = page.older
                if place is None:
                    break
            assert seen == expected
            newest = operations.browse(connection, wanted, seconds=60.0, window=window)
            assert [row.id for row in newest.rows] == expected[::-1]
            assert (newest.total, newest.complete) == (6, True)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("order=1147", "number"),
        ("order=114", None),
        ("customer=Grün & Söhne", "text"),
        ("Grün", "text"),
        ("paid=true", None),
        ("nobody=1", None),
        ('a"b=1', None),
        ("%", None),
        ("\0", None),
    ],
)
def test_metadata_is_found(engine: sa.Engine, word: str, found: str | None) -> None:
    """By name and whole value, numbers too, or by a part of its text."""
    ids = {"number": put(engine, "n@example.org")[0], "text": put(engine, "t@example.org")[0]}
    metadata(engine, ids["number"], {"order": 1147})
    metadata(engine, ids["text"], {"customer": "Grün & Söhne", "order": "x"})
    put(engine, "none@example.org")
    with engine.connect() as connection:
        rows = [row.id for row in operations.find(connection, Filter(metadata=word))]
    assert rows == ([] if found is None else [ids[found]])


def test_figures_by_kind(engine: sa.Engine) -> None:
    """On every database: sent, failed and deferred, of one environment or all."""
    for environment in ("red", "blue"):
        posting = Posting(kind="news", environment=environment)
        put(engine, "a@example.org", state=State.SENT, posting=posting)
        put(engine, "b@example.org", state=State.FAILED, posting=posting)
        put(engine, "c@example.org", posting=posting, delivery={"attempts": 1, "due_at": DbNow(60.0)})
    with engine.connect() as connection:
        [row] = operations.kinds(connection, 3600.0).rows
        assert (row.kind, row.sent, row.failed, row.waiting, row.deferred, row.failing) == ("news", 2, 2, 2, 2, 0.5)
        [row] = operations.kinds(connection, 3600.0, environment="red").rows
        assert (row.sent, row.failed, row.waiting, row.deferred) == (1, 1, 1, 1)


def test_the_time_to_accepted_by_kind(engine: sa.Engine) -> None:
    """The median of what was sent, from when it was enqueued; what failed does not count."""
    for kind, seconds in (("news", 2.0), ("news", 5.0), ("news", 60.0), ("reset", 1.0), ("reset", 2.0)):
        [id] = put(engine, state=State.SENT, posting=Posting(kind=kind))
        enqueued_before(engine, id, seconds)
    [id] = put(engine, state=State.FAILED, posting=Posting(kind="reset"))
    enqueued_before(engine, id, 500.0)
    with engine.connect() as connection:
        found = {row.kind: row.accepted_p50 for row in operations.kinds(connection, 3600.0).rows}
    assert found == {"news": pytest.approx(5.0, abs=0.1), "reset": pytest.approx(1.5, abs=0.1)}


def enqueued_before(engine: sa.Engine, id: int, seconds: float) -> None:
    """Make a delivery's message so much older than its end."""
    with engine.begin() as connection:
        ended = sa.select(DELIVERY.c.message_id, DELIVERY.c.finished_at).where(DELIVERY.c.id == id)
        pk, at = connection.execute(ended).one()
        older = {"created_at": at - timedelta(seconds=seconds)}
        connection.execute(MESSAGE.update().where(MESSAGE.c.id == pk).values(older))


def test_the_kinds_with_most_failures_come_first(engine: sa.Engine) -> None:
    """Of those with as many, the ones of which a larger share failed."""
    for kind, failed, sent in (("a", 1, 3), ("b", 1, 0), ("c", 2, 9), ("d", 0, 1), ("e", 1, 1)):
        for state in [State.FAILED] * failed + [State.SENT] * sent:
            put(engine, state=state, posting=Posting(kind=kind))
    with engine.connect() as connection:
        assert [row.kind for row in operations.kinds(connection, 3600.0).rows] == ["c", "b", "e", "a", "d"]
