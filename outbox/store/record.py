"""Writes down what became of claimed deliveries, many in one transaction, under the fence of their leases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.delivery.retry import MOST_NOTE
from outbox.delivery.states import State
from outbox.message.sealed import seal
from outbox.store.compiled import Text, now_text, table_text
from outbox.store.connections import Connections
from outbox.store.databases import of
from outbox.store.effects import Writer, listeners_of, of_outcomes
from outbox.store.events import is_refused_address, note_refusals
from outbox.store.models import OutboxAttempt, OutboxDelivery, table_of
from outbox.store.outcome import Outcome
from outbox.store.reading import reading

_delivery = table_of(OutboxDelivery)
_attempt = table_of(OutboxAttempt)

MOST_REPLY = 1_000
"""Characters of a reply."""

_COLUMNS = {  # of one outcome on its way to the database
    "id": int,
    "token": int,
    "worker": int,
    "state": str,
    "lane": int,
    "counted": int,
    "suspected": int,
    "deferred": int,
    "fenced": int,
    "tried": int,
    "delay": float,
    "due": datetime,
    "reason": str,
    "transport": str,
    "phase": str,
    "verdict": str,
    "code": int,
    "enhanced": str,
    "about": str,
    "reply": str,
    "relay": str,
    "duration": float,
    "note": str,
}


class OutcomeStore:
    """Records outcomes. Safe to use from several threads."""

    def __init__(self, engine: Engine, *, bounce_seconds: float = 0.0) -> None:
        """`bounce_seconds`: how long an address that does not exist gets no more mail; 0: it still does."""
        self._bounce_seconds = bounce_seconds
        self._engine = engine
        self._database = database = of(engine)
        self._one_by_one = database.in_process  # nothing is gained there by one statement for all
        self._at_once = database.writes_in_queries  # both writes are one statement, which is its transaction
        self._effects = Writer(engine)
        self._statements = _Statements(engine, self._effects.beside)
        self._connections = Connections(engine)

    def record(self, worker_id: int, outcomes: Sequence[Outcome]) -> set[int]:
        """Write all that is held in one transaction; returns the ids whose lease was lost, and whose rows stayed.

        May be repeated after a call that ended without an answer: what that one committed is found by its attempt's
        token, and not written again.
        """
        outcomes = sorted(outcomes, key=lambda outcome: outcome.claimed.id)
        plain = [outcome for outcome in outcomes if not is_refused_address(outcome)]
        recorded: set[int] = set()
        if plain or not outcomes:
            rows = [self._row(outcome, worker_id) for outcome in plain]
            with self._connections.use() as connection:
                recorded = self._record_held(connection, rows, of_outcomes(listeners_of(self._engine), plain))
        if len(recorded) == len(outcomes):
            return set()
        return self._record_carefully(worker_id, [o for o in outcomes if o.claimed.id not in recorded])

    def rehearse(self, worker_id: int, outcome: Outcome) -> None:
        """Write the outcome and undo it. Raises what the database has against it."""
        row = self._row(outcome, worker_id)
        with self._engine.connect() as connection, connection.begin() as transaction:
            self._run(connection, self._statements.update, [row])
            self._run(connection, self._statements.insert, [row])
            self._effects.write(connection, of_outcomes(listeners_of(self._engine), [outcome]))
            transaction.rollback()

    def check(self) -> None:
        """Have the database look at all that recording does, with nothing to record. Raises what recording raises."""
        with reading(self._engine) as connection:
            for statement in (self._statements.update, self._statements.insert):
                if self._one_by_one:
                    statement.execute(connection, _NOTHING, prefix="EXPLAIN ")
                else:
                    statement.execute(connection, {"rows": "[]"})
            if self._at_once:
                self._statements.both.execute(connection, {"rows": "[]"})
            if listeners_of(self._engine) is not None:
                self._effects.rehearse(connection)
            connection.rollback()

    def connected(self) -> AbstractContextManager[None]:
        """Within it the calling thread keeps its connection."""
        return self._connections.pinned()

    def _record_held(
        self, connection: sa.Connection, rows: list[dict[str, Any]], effects: list[dict[str, Any]]
    ) -> set[int]:
        """The way that is nearly always right: all leases are held. The ids of those that were, or none of any."""
        if self._at_once:
            given = {"rows": json.dumps(rows)}
            if effects:
                written = self._statements.all.execute(connection, given | {"effects": json.dumps(effects)})
            else:
                written = self._statements.both.execute(connection, given)
            return {row[0] for row in written.all()}
        with connection.begin() as transaction:
            if self._run(connection, self._statements.update, rows) != len(rows):
                transaction.rollback()
                return set()
            self._run(connection, self._statements.insert, [row for row in rows if row["tried"]])
            self._effects.write(connection, effects)
        return {row["id"] for row in rows}

    def _record_carefully(self, worker_id: int, outcomes: Sequence[Outcome]) -> set[int]:
        """See first, under lock, which leases are held and what is already written; then what follows for addresses."""
        with self._engine.begin() as connection:
            tokens = self._tokens(connection, [outcome.claimed.id for outcome in outcomes])
            written = self._attempts_written(connection, outcomes)
            fresh = [o for o in outcomes if (o.claimed.id, o.claimed.token) not in written]
            held = [o for o in fresh if tokens.get(o.claimed.id, 0) == o.claimed.token]
            lost = {o.claimed.id for o in fresh} - {o.claimed.id for o in held}
            self._run(connection, self._statements.update, [self._row(o, worker_id) for o in held])
            tried = [o for o in fresh if o.result is not None and o.claimed.id in tokens]
            rows = [self._row(o, worker_id) | {"fenced": int(o.claimed.id in lost)} for o in tried]
            self._run(connection, self._statements.insert, rows)
            self._effects.write(connection, of_outcomes(listeners_of(self._engine), held))
            note_refusals(connection, held, bounce_seconds=self._bounce_seconds)
        return lost

    def _run(self, connection: sa.Connection, statement: Text, rows: list[dict[str, Any]]) -> int:
        """How many rows were hit."""
        if not rows:
            return 0
        if self._one_by_one:
            return statement.execute(connection, [{**_NOTHING, **row} for row in rows]).rowcount
        return statement.execute(connection, {"rows": json.dumps(rows)}).rowcount

    def _row(self, outcome: Outcome, worker_id: int) -> dict[str, Any]:
        row = _row(outcome, worker_id)
        if outcome.state is State.QUEUED and outcome.delay is None:
            row["due"] = self._database.moment_text(outcome.claimed.due_at)
        return row

    def _tokens(self, connection: sa.Connection, ids: Sequence[int]) -> dict[int, int | None]:
        statement = sa.select(_delivery.c.id, _delivery.c.token).where(_delivery.c.id.in_(ids)).order_by(_delivery.c.id)
        return {row.id: row.token for row in connection.execute(self._database.lock(statement))}

    def _attempts_written(self, connection: sa.Connection, outcomes: Sequence[Outcome]) -> set[tuple[int, int]]:
        rows = connection.execute(
            sa.select(_attempt.c.delivery_id, _attempt.c.token).where(
                _attempt.c.delivery_id.in_([o.claimed.id for o in outcomes if o.result is not None]),
                _attempt.c.token.in_({o.claimed.token for o in outcomes}),
            )
        )
        return {(row.delivery_id, row.token) for row in rows}


_NOTHING: dict[str, Any] = dict.fromkeys(_COLUMNS)


class _Statements:
    """The update of deliveries and the insert of attempts, from rows as `_row` makes them, as text for the driver."""

    def __init__(self, engine: Engine, effects: str) -> None:
        """`effects`: what else to insert, where both can be one statement."""
        dialect, database = engine.dialect, of(engine)
        delivery_table, attempt_table = table_text(engine, _delivery), table_text(engine, _attempt)
        source = None if database.in_process else database.rows_text(_COLUMNS)
        given = {name: f":{name}" if source is None else f"i.{name}" for name in _COLUMNS}
        changes, where, attempt = _changes(dialect, given)
        insert = f"INSERT INTO {attempt_table} ({', '.join(attempt)}) SELECT {', '.join(attempt.values())}"
        update = database.update_text(delivery_table, source, changes, where)
        self.update = Text(dialect, update)
        self.insert = Text(dialect, insert if source is None else f"{insert} FROM {source}")
        held = database.update_text(delivery_table, "i", changes, where) + " RETURNING d.id"
        written = f"{insert} FROM i JOIN held ON held.id = i.id WHERE i.tried = 1"
        both = f"WITH i AS (SELECT * FROM {source}), held AS ({held}), written AS ({written})"  # noqa: S608
        self.both = Text(dialect, f"{both} SELECT id FROM held")  # noqa: S608
        """Both in one, where that can be: what is not held is in neither, and the ids of what is come back."""
        self.all = Text(dialect, f"{both}, told AS ({effects}) SELECT id FROM held")  # noqa: S608
        """The same with the `effects`."""


def _changes(dialect: sa.Dialect, value: dict[str, str]) -> tuple[dict[str, str], str, dict[str, str]]:
    """(what an outcome changes in its delivery, where it may, its attempt), `value` naming where each fact is."""
    now, later = now_text(dialect, "0.0"), now_text(dialect, value["delay"])
    queued, tried = f"{value['state']} = '{State.QUEUED}'", f"{value['tried']} = 1"
    changes = {
        "state": value["state"],
        "token": "NULL",
        "worker_id": "NULL",
        "marked_at": f"CASE WHEN {tried} THEN NULL ELSE d.marked_at END",  # given back: it tells of an earlier lease
        "lane": value["lane"],
        "attempts": f"d.attempts + {value['counted']}",
        "deferrals": f"d.deferrals + {value['deferred']}",
        "rescues": f"d.rescues + {value['suspected']}",
        "due_at": (
            f"CASE WHEN NOT ({queued}) THEN NULL WHEN {value['delay']} IS NOT NULL THEN {later}"
            # as before its claim; that may be in the future after a step back of the clock
            f" WHEN {value['due']} < {now} THEN {value['due']} ELSE {now} END"
        ),
        "code": f"CASE WHEN {tried} THEN {value['code']} ELSE d.code END",
        "enhanced": f"CASE WHEN {tried} THEN {value['enhanced']} ELSE d.enhanced END",
        "reply": f"CASE WHEN {tried} THEN {value['reply']} ELSE d.reply END",
        "reason": f"CASE WHEN {tried} THEN {value['reason']} ELSE d.reason END",
        "updated_at": now,
        "finished_at": f"CASE WHEN {queued} THEN NULL ELSE {now} END",
    }
    where = f"d.id = {value['id']} AND d.token = {value['token']}"
    attempt = {
        "delivery_id": value["id"],
        "at": now,
        "worker_id": value["worker"],
        "token": value["token"],
        "transport": value["transport"],
        "phase": value["phase"],
        "verdict": value["verdict"],
        "code": value["code"],
        "enhanced": value["enhanced"],
        "about": value["about"],
        "reply": value["reply"],
        "relay_id": value["relay"],
        "duration": value["duration"],
        "counted": f"({value['counted']} = 1)",
        "fenced": f"({value['fenced']} = 1)",
        "note": value["note"],
    }
    return changes, where, attempt


def _row(outcome: Outcome, worker_id: int) -> dict[str, Any]:
    """An outcome for the database; what is None is left out."""
    claimed, result = outcome.claimed, outcome.result
    row: dict[str, Any] = {
        "id": claimed.id,
        "token": claimed.token,
        "worker": worker_id,
        "state": outcome.state,
        "lane": claimed.slot | ((outcome.counted or outcome.deferred) and outcome.state is State.QUEUED),
        "counted": int(outcome.counted),
        "suspected": int(outcome.suspected),
        "deferred": int(outcome.deferred),
        "fenced": 0,
        "tried": int(result is not None),
        "delay": outcome.delay,
        "reason": outcome.reason,
    }
    if result is not None:
        row |= {
            "transport": outcome.transport,
            "phase": result.phase,
            "verdict": result.verdict,
            "code": result.reply.code,
            "enhanced": result.reply.enhanced,
            "about": outcome.about,
            "reply": result.reply.text[:MOST_REPLY],
            "relay": result.relay_id[:255] if result.relay_id else None,
            "duration": result.duration,
            "note": outcome.note[:MOST_NOTE] if outcome.note else None,
        }
        if (key := claimed.message.data_key) is not None:  # both may quote the address, and what the message says
            row["reply"] = seal(row["reply"], "reply", key, MOST_REPLY)
            if row["note"] is not None:
                row["note"] = seal(row["note"], "note", key)
    return {name: value for name, value in row.items() if value is not None}
