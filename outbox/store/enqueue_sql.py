"""The statements of enqueueing, each built once: building one costs more than running it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Insert

from outbox.delivery.states import OnUncertain, State
from outbox.store.compiled import Rendered
from outbox.store.databases import Database, of
from outbox.store.insert_once import once
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.sealing import plain_type
from outbox.store.types import DbNow

_message = table_of(OutboxMessage)
_delivery = table_of(OutboxDelivery)

KEYED = ("environment", "key")
"""What is unique: each environment has keys of its own."""


def add_deliveries(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Write deliveries; those that have no `due_at` are due now."""
    database = of(connection)
    for names in sorted({frozenset(row) for row in rows}, key=len):
        some = [row for row in rows if row.keys() == names]
        now = "due_at" not in names
        if len(some) == 1:
            insert_delivery(connection.dialect, names).execute(connection, some[0])
        elif database.hands_over_arrays:
            connection.execute(_insert_deliveries(database, now, names), database.arrays(_given(names), some))
        else:
            connection.execute(_insert_delivery(now), some)


@functools.cache
def insert_message(by_age: bool) -> Insert:
    """`by_age`: it expires `max_age` seconds from now."""
    return _message.insert().values(_computed(by_age))


@functools.cache
def insert_unless_key_taken(database: Database, by_age: bool) -> Insert:
    """The same, but for a message whose key is taken."""
    return database.insert_unless_there(_message, KEYED).values(_computed(by_age))


@functools.cache
def insert_once_keyed(database: Database, by_age: bool) -> Any:
    """The same for one message, as `insert_once` has it."""
    return once(database, _message, KEYED, _computed(by_age))


def _computed(by_age: bool) -> dict[str, Any]:
    computed: dict[str, Any] = {"created_at": DbNow()}
    if by_age:
        computed["expires_at"] = DbNow(sa.bindparam("max_age", type_=sa.Float()))
    return computed


def _fresh(now: bool) -> dict[str, Any]:
    """What is the same in all new deliveries; `now`: they are due at once."""
    zero = sa.literal_column("0", sa.SmallInteger())  # each parameter costs
    state = sa.literal_column(f"'{State.QUEUED.value}'", sa.Text())
    fresh = {"state": state, "attempts": zero, "rescues": zero, "updated_at": DbNow()}
    return fresh | ({"due_at": DbNow()} if now else {})


@functools.cache
def _insert_delivery(now: bool) -> Insert:
    return _delivery.insert().values(_fresh(now))


@functools.cache
def _insert_deliveries(database: Database, now: bool, names: frozenset[str]) -> Any:
    """Many, handed over as arrays."""
    return database.insert_arrays(_delivery, _given(names), lambda _: _fresh(now))


@functools.cache
def _given(names: frozenset[str]) -> dict[str, sa.types.TypeEngine[Any]]:
    return {name: plain_type(_delivery.c[name].type) for name in sorted(names)}


@functools.lru_cache(64)
def insert_delivery(dialect: sa.Dialect, names: frozenset[str]) -> Rendered:
    """One of them, of which `names` are given."""
    given = {name: sa.bindparam(name, type_=kind) for name, kind in _given(names).items()}
    return Rendered(_delivery.insert().values(given | _fresh("due_at" not in names)).inline(), dialect)


Fixed = tuple[tuple[str, Any], ...]
"""Columns and values that are part of a statement's text."""


def parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], Fixed]:
    """`values` of a message without those that are NULL: what is given as parameters, and what is part of the text.

    Each parameter costs the client and the server some microseconds, so those of which an application has a handful of
    different values are part of the text.
    """
    given = {name: value for name, value in values.items() if value is not None}
    return given, tuple([(name, given.pop(name)) for name in _FEW if name in given])


_FEW: dict[str, Callable[[Any], Any]] = {  # each as SQL
    "lane": lambda rank: sa.literal_column(str(int(rank)), sa.SmallInteger()),
    "smtputf8": lambda is_needed: sa.true() if is_needed else sa.false(),
    "on_uncertain": lambda name: sa.literal_column(f"'{OnUncertain(name).value}'", sa.Text()),
    "max_age": lambda seconds: sa.literal_column(repr(float(seconds)), sa.Float()),
}


def _new_message(names: frozenset[str], fixed: Fixed) -> Insert:
    known = {name: _FEW[name](value) for name, value in fixed}
    computed = {"created_at": DbNow()}
    if "max_age" in known:
        computed["expires_at"] = DbNow(known.pop("max_age"))
    given = {name: sa.bindparam(name, type_=plain_type(_message.c[name].type)) for name in sorted(names)}
    return _message.insert().values(given | known | computed)


@functools.lru_cache(512)  # an application uses few of the combinations, but may have several databases
def insert_alone(dialect: sa.Dialect, names: frozenset[str], fixed: Fixed) -> Rendered:
    """A message without its deliveries, where the driver tells the id of the new row."""
    return Rendered(_new_message(names, fixed).inline(), dialect)


class How(NamedTuple):
    """What shapes the deliveries of a new message."""

    slot: int
    alone: bool  # there is one recipient
    now: bool  # they are due at once
    routed: bool  # a route is given for each recipient


@functools.lru_cache(512)
def insert_whole(dialect: sa.Dialect, names: frozenset[str], fixed: Fixed, how: How, wake: bool) -> Rendered:
    """Message and deliveries in one statement, where the database writes in queries.

    `names` of what is given of the message; `wake`: the commit tells of it.
    """
    message = _new_message(names, fixed).returning(_message.c.id).cte("message")
    columns: dict[str, Any] = {
        "message_id": message.c.id,
        "lane": sa.literal_column(str(int(how.slot)), sa.SmallInteger()),
        **_fresh(how.now),
    }
    if not how.now:
        columns["due_at"] = sa.bindparam("send_at", type_=_delivery.c.due_at.type)
    each_has = ("recipient", "domain", "digest", *(("route",) if how.routed else ()))
    if how.alone:
        columns |= {name: sa.bindparam(name, type_=sa.Text()) for name in each_has}
        rows = sa.select(*columns.values()).select_from(message)
    else:
        texts = sa.ARRAY(sa.Text())
        to = sa.func.unnest(*(sa.bindparam(f"{name}s", type_=texts) for name in each_has))
        each = to.table_valued(*(sa.column(name, sa.Text()) for name in each_has)).render_derived("each")
        columns |= {name: each.c[name] for name in each_has}
        rows = sa.select(*columns.values()).select_from(message.join(each, sa.true()))
    deliveries = _delivery.insert().from_select(list(columns), rows, include_defaults=False).cte("deliveries")
    told = of(dialect).told() if wake else []
    return Rendered(sa.select(message.c.id, *told).add_cte(deliveries), dialect)
