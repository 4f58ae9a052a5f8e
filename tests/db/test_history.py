"""How many rows a statement reads does not depend on how much was ever sent: counted by MariaDB itself.

Its indexes hold the rows that PostgreSQL and SQLite leave out of theirs (`test_plans`), and its planner likes to look
up by the first column alone, or to sort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.batch_states import BatchState, CanaryState
from outbox.delivery.states import State
from outbox.models import OutboxBatch, OutboxDelivery, table_of
from outbox.operations import canaries, transitions
from outbox.operations.batches import waiting
from outbox.operations.failures import count_deferred
from outbox.operations.filters import Filter
from outbox.operations.purge import DONE_WITH, Done, look
from outbox.operations.redact import Redactor
from outbox.operations.redact_failed import FailedRedactor
from outbox.operations.transitions import eligible, in_batches, next_matching
from outbox.store.live_keys import missing_keys
from outbox.store.posting import HELD
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from tests.db.mails import put
from tests.servers.databases import Database

pytestmark = pytest.mark.databases("mariadb")

SENT, FAILED, QUEUED = 8_192, 1_024, 2_048
MIDDLE = 700
"""An id with many of each state behind it."""

SENT_MAIL = Filter(states=(State.SENT,))

FEW = 1_200
"""Rows of one statement that looks at a page of a hundred, or at the first 200 of a lane."""
_DELIVERY = table_of(OutboxDelivery)
_READS = "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' OR Variable_name = 'Handler_icp_attempts'"


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    """A lane with a long history and much that is due, and statistics that know of it."""
    engine = database.worker_engine
    recipients = [f"r{number}@example.org" for number in range(256)]
    old = [
        put(engine, *recipients, state=state, ago=90_000.0, message_id=f"<{state}@example.org>")
        for state in (State.SENT, State.FAILED, State.QUEUED)
    ]
    with engine.begin() as connection:
        for ids, count in zip(old, (SENT, FAILED, QUEUED), strict=True):
            _multiply(connection, ids, count // len(ids))
        spread = ", ".join(f"{name} = {name} - INTERVAL id SECOND" for name in ("due_at", "finished_at"))
        connection.exec_driver_sql(f"UPDATE outbox_delivery SET {spread}")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE TABLE outbox_delivery").all()
    return engine


def _multiply(connection: sa.Connection, ids: list[int], times: int) -> None:
    columns = [column for column in _DELIVERY.columns if column.name != "id"]
    copies = sa.select(*columns).where(_DELIVERY.c.id.in_(ids))
    for _ in range(times - 1):
        connection.execute(_DELIVERY.insert().from_select([column.name for column in columns], copies))


@contextmanager
def reads(engine: sa.Engine) -> Iterator[dict[str, int]]:
    """How many rows each statement reads at most, of those made within it."""
    found: dict[str, int] = {}

    def counted(cursor: Any) -> int:
        cursor.execute(_READS)
        return sum(int(number) for _, number in cursor.fetchall())

    def begins(connection: sa.Connection, cursor: Any, *_: Any) -> None:
        connection.info["reads"] = counted(connection.connection.cursor())

    def ends(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        read = counted(connection.connection.cursor()) - connection.info["reads"]
        found[statement] = max(read, found.get(statement, 0))

    sa.event.listen(engine, "before_cursor_execute", begins)
    sa.event.listen(engine, "after_cursor_execute", ends)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", begins)
        sa.event.remove(engine, "after_cursor_execute", ends)


def many(found: dict[str, int], most: int) -> list[str]:
    """The statements that read more than `most` rows."""
    assert found
    return [f"{number}: {statement}" for statement, number in found.items() if number > most]


def test_a_claim_reads_what_it_takes(engine: sa.Engine) -> None:
    queue = Queue(engine, environment="", lease=60.0)
    worker = queue.register(host="here", pid=1, version="1", connections=4)
    with reads(engine) as found:
        for token in (7, 8, 9):
            assert queue.claim(worker, token, 10)
    assert many(found, 100) == []


LOOKS: dict[str, tuple[int, Callable[[sa.Engine, sa.Connection], Any]]] = {  # with the most that one statement reads
    "due, by lane": (3 * FEW, lambda _, connection: operations.status(connection, dead_after=60.0, count_cap=100)),
    "deferred": (FEW, lambda _, connection: operations.deferred(connection)),
    "number of deferred": (FEW, lambda _, connection: count_deferred(connection, 100)),
    "keys": (2 * FEW, lambda _, connection: missing_keys(connection)),
    "old mail": (FEW, lambda _, connection: _walk(connection, DONE_WITH)),
    "old mail of one state": (FEW, lambda _, connection: _walk(connection, (State.SENT,))),
    "sensitive mail": (3 * FEW, lambda engine, _: _redact_twice(engine)),
    "requeue": (3 * FEW, lambda _, connection: _next(connection, State.FAILED, State.QUEUED)),
    "mark sent": (500, lambda _, connection: _next(connection, State.FAILED, State.SENT)),
    "change of sent": (500, lambda _, connection: next_matching(connection, SENT_MAIL, MIDDLE, 100)),
    "list of sent": (300, lambda _, connection: _pages(connection, State.SENT, oldest_first=False)),
    "list of sent, oldest first": (300, lambda _, connection: _pages(connection, State.SENT, oldest_first=True)),
    "list of failed": (300, lambda _, connection: _pages(connection, State.FAILED, oldest_first=False)),
}


def _next(connection: sa.Connection, state: State, target: State) -> None:
    wanted = eligible(Filter(states=(state,)), target)
    assert wanted is not None
    assert len(next_matching(connection, wanted, MIDDLE, 100)) == 100


def _walk(connection: sa.Connection, states: tuple[State, ...]) -> None:
    done, place = Done(3_600.0, states, Filter()), None
    for _ in range(3):
        place = look(connection, done, 100, place).place
    assert place is not None


def _redact_twice(engine: sa.Engine) -> None:
    redactor = Redactor(engine, ["reset"])
    redactor.run()
    redactor.run()


def _pages(connection: sa.Connection, state: State, *, oldest_first: bool) -> None:
    further: int | None = None
    for _ in range(3):
        span = {"after": further} if oldest_first else {"before": further}
        rows = operations.find(connection, Filter(states=(state,)), limit=50, oldest_first=oldest_first, **span)
        assert len(rows) == 50
        further = rows[-1].id


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_reads_no_more_than_it_shows(engine: sa.Engine, name: str) -> None:
    """Of what was sent one page, and no more than that of what is due."""
    with engine.connect() as connection, reads(engine) as found:
        most, look_at = LOOKS[name]
        look_at(engine, connection)
    assert many(found, most) == []


def test_what_was_sent_is_passed_by_once(engine: sa.Engine) -> None:
    """Failed mail whose text is to go is looked for among all that ended, and from there on at the next look."""
    redactor = FailedRedactor(engine, {"reset": 3_600.0})
    redactor.run()
    with reads(engine) as found:
        redactor.run()
    assert many(found, 100) == []


@pytest.fixture
def batch(engine: sa.Engine) -> sa.Row[Any]:
    """A batch of what is queued, all of which waits for its canary, and of as much that was cancelled."""
    values = {"id": 1, "environment": "", "name": "march", "state": BatchState.FILLED.value, "created_at": DbNow()}
    queued, failed = _DELIVERY.c.state == State.QUEUED.value, _DELIVERY.c.state == State.FAILED.value
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxBatch).values(canary=CanaryState.PASSED.value, **values))
        connection.execute(_DELIVERY.update().where(queued).values(batch_id=1, due_at=HELD))
        connection.execute(_DELIVERY.update().where(failed).values(batch_id=1, state=State.CANCELLED.value))
        return connection.execute(sa.select(table_of(OutboxBatch))).one()


def test_the_others_of_a_batch_are_released_along_the_index(
    engine: sa.Engine, batch: sa.Row[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each portion begins where the last one ended, and does not read it again."""
    monkeypatch.setattr(canaries, "RELEASED_AT_ONCE", 100)
    with reads(engine) as found:
        canaries._release(engine, batch)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(_DELIVERY.c.due_at == HELD)) == 0
    assert many(found, 700) == []


def test_a_batch_is_cancelled_along_the_index(
    engine: sa.Engine, batch: sa.Row[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cancelled before is not read again for each portion."""
    monkeypatch.setattr(transitions, "BATCH", 100)
    with reads(engine) as found:
        changed = sum(len(one.changed) for one in in_batches(engine, waiting("march", ""), State.CANCELLED, by="ann"))
    assert changed == QUEUED
    assert many(found, 700) == []


def test_more_would_be_seen(engine: sa.Engine) -> None:
    """The test itself: a statement that reads all that was sent is found out."""
    with engine.connect() as connection, reads(engine) as found:
        connection.execute(sa.select(sa.func.count()).where(_DELIVERY.c.reply == "x"))
    assert many(found, SENT)
