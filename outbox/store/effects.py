"""What handlers and webhooks are to do is written down with what it is about, in the same transaction.

Nothing is called here: a slow handler must hold back no outcome. Workers take them from `effect_queue`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from outbox.delivery.happened import BATCH_DONE, OUTCOMES
from outbox.store.compiled import Text, now_text, table_text
from outbox.store.databases import of
from outbox.store.effect_model import OutboxEffect
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.outcome import Outcome
from outbox.store.types import DbNow

_effect = table_of(OutboxEffect)
_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)

_LISTENERS = "outbox_listeners"  # the execution option of an engine

COLUMNS = {"id": int, "token": int, "environment": str, "name": str, "type": str, "effect_key": str}
"""Of one effect of an outcome, on its way to the database; `id` is the delivery's."""


class Listeners(Protocol):
    """Who is to be told, of one application."""

    def names(self, type: str, kind: str | None) -> Sequence[str]:
        """The handlers and webhooks for what is of this type, about a message of this kind."""
        ...

    def recorded(self, events: Sequence[Any]) -> None:
        """Called after the commit with the events that were recorded just now."""
        ...


def listen(engine: sa.Engine, listeners: Listeners) -> None:
    """Whatever is recorded by `engine` is for these."""
    engine.update_execution_options(**{_LISTENERS: listeners})


def listeners_of(subject: sa.Engine | sa.Connection) -> Listeners | None:
    """Those that `listen` has named for the engine."""
    found: Listeners | None = subject.get_execution_options().get(_LISTENERS)
    return found


def of_outcomes(listeners: Listeners | None, outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The rows for `Writer`; none where nobody listens."""
    if listeners is None:
        return []
    return [
        {
            "id": one.claimed.id,
            "token": one.claimed.token,
            "environment": one.claimed.message.environment,
            "name": name,
            "type": one.state,
            "effect_key": f"{one.state}:{one.claimed.id}:{one.claimed.token}",
        }
        for one in outcomes
        if one.state in OUTCOMES
        for name in listeners.names(one.state, one.claimed.message.kind)
    ]


class Writer:
    """Inserts the effects of outcomes, as text for the driver."""

    def __init__(self, engine: sa.Engine) -> None:
        dialect, database = engine.dialect, of(engine)
        self._one_by_one = database.in_process
        source = None if self._one_by_one else database.rows_text(COLUMNS)
        given = {name: f":{name}" if source is None else f"i.{name}" for name in COLUMNS}
        now = now_text(dialect, "0.0")
        values = {
            "environment": given["environment"],
            "name": given["name"],
            "type": given["type"],
            "effect_key": given["effect_key"],
            "delivery_id": given["id"],
            "token": given["token"],
            "due_at": now,
            "created_at": now,
        }
        names = ", ".join(engine.dialect.identifier_preparer.quote(name) for name in values)
        insert = f"INSERT INTO {table_text(engine, _effect)} ({names}) SELECT {', '.join(values.values())}"
        self._insert = Text(dialect, insert if source is None else f"{insert} FROM {source}")
        self.beside = (
            f"{insert} FROM {database.rows_text(COLUMNS, 'effects')} JOIN held ON held.id = i.id"
            if database.writes_in_queries
            else ""
        )
        """SQL, where a query can write: those of the `effects` whose outcome is in `held`."""

    def write(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        """Insert `rows`."""
        if rows:
            self._insert.execute(connection, rows if self._one_by_one else {"rows": json.dumps(rows)})

    def rehearse(self, connection: sa.Connection) -> None:
        """Have the database look at it, with nothing to write."""
        if self._one_by_one:
            self._insert.execute(connection, dict.fromkeys(COLUMNS), prefix="EXPLAIN ")
        else:
            self._insert.execute(connection, {"rows": "[]"})


def of_event(
    connection: sa.Connection,
    type: str,
    event_pk: int,
    delivery_id: int | None,
    kinds: Sequence[str | None],
    *,
    environment: str | None = None,
    listeners: Listeners | None = None,
) -> None:
    """Write down who is to be told of an event that was just stored.

    `kinds`: that it is about. `environment`: that of the delivery's message, unless it is given, as it must be without
    one. `listeners`: by default those of the connection's engine.
    """
    listeners = listeners or listeners_of(connection)
    if listeners is None:
        return
    names = dict.fromkeys(name for kind in kinds for name in listeners.names(type, kind))
    if not names:
        return
    if environment is None:
        environment = connection.execute(
            sa.select(_message.c.environment)
            .select_from(_delivery.join(_message, _message.c.id == _delivery.c.message_id))
            .where(_delivery.c.id == delivery_id)
        ).scalar_one()
    connection.execute(
        _effect.insert().values(due_at=DbNow(), created_at=DbNow()),
        [
            {
                "environment": environment,
                "name": name,
                "type": type,
                "effect_key": f"event:{event_pk}",
                "delivery_id": delivery_id,
                "event_id": event_pk,
            }
            for name in names
        ],
    )


def of_batch(connection: sa.Connection, batch_id: int, environment: str, kind: str | None) -> None:
    """Write down who is to be told that a batch is done."""
    listeners = listeners_of(connection)
    names = () if listeners is None else listeners.names(BATCH_DONE, kind)
    if names:
        about = {"environment": environment, "type": BATCH_DONE, "effect_key": f"batch:{batch_id}"}
        connection.execute(
            _effect.insert().values(due_at=DbNow(), created_at=DbNow()),
            [{**about, "name": name, "batch_id": batch_id} for name in dict.fromkeys(names)],
        )
