"""Who changed what: the audit's rows, the same on every database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxAudit, table_of
from outbox.operations import Filter, audit
from outbox.store.types import DbNow
from tests.db.mails import put


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """To look with."""
    with engine.connect() as connection:
        yield connection


def test_each_change_leaves_a_row(engine: sa.Engine) -> None:
    """Who, what, how many, by which words and why; the ids where they are few."""
    failed = put(engine, "a@example.org", "b@example.org", state=State.FAILED, delivery={"enhanced": "5.1.1"})
    (queued,) = put(engine, "c@example.org")
    with engine.begin() as writing:
        operations.mark_sent(writing, Filter(ids=(failed[0],)), by="ann", note="they rang up")
        operations.requeue(writing, Filter(states=(State.FAILED,), error="5.1.1"), by="ann")
        operations.cancel(writing, Filter(ids=(queued,)), by="ben")
    with engine.connect() as connection:
        rows = audit.recent(connection)
    assert [(row.action, row.by, row.count, row.filters, row.note, row.delivery_ids) for row in rows] == [
        ("cancel", "ben", 1, f"id={queued}", None, (queued,)),
        ("requeue", "ann", 1, "state=failed error=5.1.1", None, (failed[1],)),
        ("mark-sent", "ann", 1, f"id={failed[0]}", "they rang up", (failed[0],)),
    ]


def test_what_is_rolled_back_leaves_none(engine: sa.Engine) -> None:
    """The row is written in the change's own transaction."""
    (id,) = put(engine)
    with engine.connect() as writing:
        assert operations.cancel(writing, Filter(ids=(id,)), by="ann") == 1
        writing.rollback()
        assert audit.recent(writing) == []


def test_a_change_of_nothing_leaves_none(engine: sa.Engine) -> None:
    """No mail matched: nothing was done."""
    with engine.begin() as writing:
        assert operations.cancel(writing, Filter(recipient="nobody@example.org"), by="ann") == 0
        assert audit.recent(writing) == []


def test_a_change_in_batches_is_one_row(
    engine: sa.Engine, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many transactions it took; the ids of many are not kept."""
    monkeypatch.setattr("outbox.operations.transitions.BATCH", 2)
    monkeypatch.setattr("outbox.operations.audit.FEW", 3)
    put(engine, *(f"r{number}@example.org" for number in range(5)), state=State.FAILED)
    done = operations.in_batches(engine, Filter(domain="example.org"), State.QUEUED, by="ann")
    assert sum(len(batch.changed) for batch in done) == 5
    (row,) = audit.recent(connection)
    assert (row.action, row.count, row.delivery_ids) == ("requeue", 5, ())


def test_somebody_must_have_done_it(engine: sa.Engine) -> None:
    """A change by nobody is refused."""
    (id,) = put(engine)
    with engine.begin() as writing, pytest.raises(ValueError, match="who"):
        operations.cancel(writing, Filter(ids=(id,)), by=" ")


def test_what_was_done_to_one_mail(engine: sa.Engine) -> None:
    """Found by its id, and by no other that has the same digits."""
    ids = put(engine, *(f"r{number}@example.org" for number in range(12)))
    with engine.begin() as writing:
        operations.cancel(writing, Filter(ids=(ids[0], ids[11])), by="ann")
        operations.requeue(writing, Filter(ids=(ids[0],)), by="ben")
        assert [row.by for row in audit.of_delivery(writing, ids[0])] == ["ben", "ann"]
        assert [row.by for row in audit.of_delivery(writing, ids[11])] == ["ann"]
        assert audit.of_delivery(writing, ids[1]) == []


def test_hostile_names_and_notes_are_kept_as_far_as_they_can_be(engine: sa.Engine) -> None:
    """What no database holds is left out, what is too long is cut."""
    (id,) = put(engine)
    with engine.begin() as writing:
        operations.cancel(writing, Filter(ids=(id,)), by="a\0" + "n" * 300, note="\ud800" + "x" * 600)
        (row,) = audit.recent(writing)
    assert (row.by[:2], len(row.by), row.note[:2], len(row.note)) == ("an", 255, "?x", 500)  # type: ignore[index,arg-type]


def test_pages_of_the_audit(engine: sa.Engine) -> None:
    """The newest first, on from any row."""
    for number in range(5):
        with engine.begin() as writing:
            audit.write(writing, "requeue", by=f"p{number}", count=1)
    with engine.connect() as connection:
        first = audit.recent(connection, 2)
        rest = audit.recent(connection, before=first[-1].id)
    assert [row.by for row in [*first, *rest]] == ["p4", "p3", "p2", "p1", "p0"]


def test_what_is_old_is_removed(engine: sa.Engine) -> None:
    """Entries past the retention, the oldest first, batch after batch; None keeps all."""
    with engine.begin() as writing:
        for number in range(7):
            audit.write(writing, "cancel", by=f"p{number}", count=1)
        old = table_of(OutboxAudit)
        writing.execute(sa.update(old).where(old.c.actor < "p5").values(at=DbNow(-100.0)))
    for seconds, left in ((None, 7), (1000.0, 7), (50.0, 2)):
        purger = operations.Purger(engine, environment="", older_than=10.0, audit_older_than=seconds, batch=2)
        purger.run(lambda seconds: False)
        with engine.connect() as connection:
            assert len(audit.recent(connection)) == left
    with engine.connect() as connection:
        assert [row.by for row in audit.recent(connection)] == ["p6", "p5"]
