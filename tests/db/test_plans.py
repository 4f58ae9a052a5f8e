"""What the queue's statements do is found by index, whatever the statistics say: asked of each database's planner."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.states import State
from outbox.models import OutboxSuppression
from outbox.operations.failures import count_deferred
from outbox.operations.growth import growing
from outbox.operations.outcomes import outcomes, with_group
from outbox.store.databases import of
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from outbox.store.types import DbNow
from tests.db.mails import put
from tests.servers.databases import Database

Seen = list[tuple[str, Any]]
Plan = Callable[[str, Any], str]
ACCEPTED = Result(Verdict.ACCEPTED, Phase.DOT, Reply(250, None, "OK"), 0.1)


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    """A database with mail that is due, and statistics from when it was empty."""
    engine = database.worker_engine
    with engine.begin() as connection:
        if database.name == "postgresql":
            connection.exec_driver_sql("ANALYZE outbox_delivery, outbox_message")
        elif database.name == "mariadb":
            connection.exec_driver_sql("ANALYZE TABLE outbox_delivery, outbox_message")
    for number in range(3):
        put(engine, *(f"r{number}-{n}@example.org" for n in range(100)))
    return engine


@pytest.fixture
def worker(engine: sa.Engine) -> tuple[Queue, OutcomeStore, int]:
    """One worker's queue and outcome_store, and its id."""
    queue = Queue(engine, environment="", lease=60.0)
    return queue, OutcomeStore(engine), queue.register(host="here", pid=1, version="1", connections=4)


def seen_by(engine: sa.Engine, call: Callable[[], Any]) -> Seen:
    """The statements that `call` makes."""
    seen: Seen = []

    def saw(connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        seen.append((statement, values[0] if many else values))

    sa.event.listen(engine, "before_cursor_execute", saw)
    try:
        call()
    finally:
        sa.event.remove(engine, "before_cursor_execute", saw)
    return seen


def plans(engine: sa.Engine, seen: Seen) -> list[str]:
    """How the planner would do each of them, on a connection as a worker keeps it."""
    found = []
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT")
            of(connection).steady_plans(connection)
        for statement, values in seen:
            if statement.split()[0] in {"SELECT", "UPDATE", "WITH"}:
                found.append(_plan(connection, statement, values))
        connection.rollback()
    return found


def _plan(connection: sa.Connection, statement: str, values: Any) -> str:
    explain = {"postgresql": "EXPLAIN", "sqlite": "EXPLAIN QUERY PLAN"}.get(
        connection.dialect.name, "EXPLAIN FORMAT=JSON"
    )
    rows = connection.exec_driver_sql(f"{explain} {statement}", values)
    if connection.dialect.name == "sqlite":
        return "\n".join(row.detail for row in rows)
    return "\n".join(str(row[0]) for row in rows)


def scans(plan: str, dialect: str) -> list[str]:
    """The tables of ours that are read from end to end, and sorts of what the index should have had in order."""
    if dialect == "postgresql":
        return [line for line in plan.splitlines() if "Seq Scan on outbox" in line or "Sort" in line]
    if dialect == "sqlite":
        return [line for line in plan.splitlines() if line.startswith("SCAN outbox") or "TEMP B-TREE FOR ORDER" in line]
    return _whole_tables(json.loads(plan))


def _whole_tables(node: Any) -> list[str]:
    found: list[str] = []
    if isinstance(node, dict):
        name = str(node.get("table_name", ""))
        if name.startswith("outbox") and node.get("access_type") in {"ALL", "index"}:
            found.append(name)
        found += ["filesort"] if "filesort" in node else []
        children = list(node.values())
    else:
        children = node if isinstance(node, list) else []
    return found + [table for child in children for table in _whole_tables(child)]


def test_a_claim_goes_by_the_index_of_what_is_due(engine: sa.Engine, worker: tuple[Queue, OutcomeStore, int]) -> None:
    """From the start of the queue and from where the last claim ended: no table is read whole, nothing is sorted."""
    queue, _, id_ = worker
    for token in (7, 8, 9):
        found = plans(engine, seen_by(engine, lambda token=token: queue.claim(id_, token, 50)))  # type: ignore[misc]
        assert [scan for plan in found for scan in scans(plan, engine.dialect.name)] == []
        assert any("ix_outbox_delivery_due" in plan for plan in found)


def test_the_list_of_suppressions_is_asked_by_its_index(
    database: Database, engine: sa.Engine, worker: tuple[Queue, OutcomeStore, int]
) -> None:
    """Once for each delivery that is claimed, however long the list: it is never read whole, nor made a hash of."""
    _suppress(engine, 2_000)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        word = {"postgresql": "ANALYZE", "mariadb": "ANALYZE TABLE", "sqlite": "ANALYZE"}[database.name]
        connection.exec_driver_sql(f"{word} outbox_suppression")
    queue, _, id_ = worker
    seen = seen_by(engine, lambda: [queue.claim(id_, token, 50) for token in (7, 8)])
    found = [plan for plan in plans(engine, seen) if "outbox_suppression" in plan]
    assert found
    assert [scan for plan in found for scan in scans(plan, engine.dialect.name)] == []
    own = "ix_outbox_suppression_digest"
    assert all(
        own in plan or ("uq_outbox_suppression_scope" in plan and database.name != "postgresql") for plan in found
    )
    assert not any("hashed SubPlan" in plan for plan in found)
    if database.name == "mariadb":
        accesses = [one for plan in found for one in _accesses(json.loads(plan), "outbox_suppression")]
        assert set(accesses) <= {"ref", "eq_ref"}


def _suppress(engine: sa.Engine, count: int) -> None:
    rows = [{"digest": f"{number:032x}", "scope": "all", "reason": "bounced", "actor": "x"} for number in range(count)]
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxSuppression).values(since=DbNow()), rows)


def _accesses(node: Any, table: str) -> list[str]:
    """How MariaDB gets at the rows of a table."""
    if isinstance(node, dict):
        own = [str(node["access_type"])] if node.get("table_name") == table else []
        return own + [one for child in node.values() for one in _accesses(child, table)]
    return [one for child in node for one in _accesses(child, table)] if isinstance(node, list) else []


def test_outcomes_go_by_the_primary_key(engine: sa.Engine, worker: tuple[Queue, OutcomeStore, int]) -> None:
    """A group of any size looks up its rows one by one."""
    queue, outcome_store, id_ = worker
    outcomes = [
        Outcome(one, State.SENT, None, counted=True, suspected=False, reason=None, note=None, result=ACCEPTED)
        for one in queue.claim(id_, 7, 20)
    ]
    found = plans(engine, seen_by(engine, lambda: outcome_store.record(id_, outcomes)))
    assert found
    assert [scan for plan in found for scan in scans(plan, engine.dialect.name)] == []


def test_a_scan_would_be_seen(engine: sa.Engine) -> None:
    """The test itself: a search without an index is found out."""
    with engine.connect() as connection:
        plan = _plan(connection, "SELECT reply FROM outbox_delivery WHERE reply = 'x' ORDER BY updated_at", ())
    assert scans(plan, engine.dialect.name)


@pytest.mark.databases("postgresql")
def test_the_clock_bounds_the_scan(engine: sa.Engine, worker: tuple[Queue, OutcomeStore, int]) -> None:
    """Mail dated into the future costs a claim nothing: it lies behind the end of the index range."""
    queue, _, id_ = worker
    (plan,) = plans(engine, seen_by(engine, lambda: queue.claim(id_, 7, 10))[-1:])
    assert len([line for line in plan.splitlines() if "Index Cond" in line and "due_at <=" in line]) == 1


def test_what_the_status_judges_by_is_found_by_index(engine: sa.Engine) -> None:
    """Outcomes, their largest group, what is deferred, the growth: no table is read whole, however long its history.

    Of the attempts the newest are read, from the end of their primary key.
    """

    def judge() -> None:
        with engine.connect() as connection:
            found, _ = outcomes(connection, 900.0, (60.0, 86_400.0))
            with_group(connection, found, refused=True)
            operations.deferred(connection)
            count_deferred(connection, 1_000)
            growing(connection, 300, 600.0)

    found = plans(engine, seen_by(engine, judge))
    assert len(found) > 10
    whole = [scan for plan in found for scan in scans(plan, engine.dialect.name)]
    small = ("attempt", "sort", "Sort", "TEMP", *(["outbox_message"] if engine.dialect.name == "mariadb" else []))
    assert [scan for scan in whole if not any(word in scan for word in small)] == []  # three messages: MariaDB counts
    if engine.dialect.name == "postgresql":
        newest = [line for line in "\n".join(found).splitlines() if "Scan" in line and "outbox_attempt" in line]
        assert newest
        assert all("Index" in line for line in newest)
