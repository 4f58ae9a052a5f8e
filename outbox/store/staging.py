"""Shows what waits because of OUTBOX_ALLOW_RECIPIENTS: as pauses, which lists, pages and the status know.

What holds the mail back is the claim (`Held.allowed`): a pause that somebody lifts is there again a moment later.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from outbox.delivery.staging import Allowed
from outbox.delivery.states import State
from outbox.message.sealed import PREFIX
from outbox.store.databases import of
from outbox.store.held import like, outside
from outbox.store.models import OutboxDelivery, OutboxMessage, OutboxPause, table_of
from outbox.store.pauses import What
from outbox.store.reading import reading
from outbox.store.sealing import as_stored
from outbox.store.types import DbNow

BY = "OUTBOX_ALLOW_RECIPIENTS"
"""Who set such a pause."""

MOST = 1_000
"""So many domains, and so many messages to others in domains of which some addresses are allowed, are shown."""

MOST_OPENED = 10_000
"""So many encrypted addresses are compared with patterns at a time, the newest first."""

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)
_pause = table_of(OutboxPause)

Scope = tuple[str, str]
"""What is paused, and its value."""


def fitting(engine: sa.Engine, environment: str, allowed: Allowed) -> frozenset[int]:
    """Queued deliveries whose address is encrypted and fits a pattern: SQL sees its domain alone, so it is opened."""
    domains = [one.rpartition("@")[2] for one in sorted(allowed.patterns) if "@" in one]
    if not domains:
        return frozenset()
    statement = (
        sa.select(_delivery.c.id, _delivery.c.recipient)
        .select_from(_delivery.join(_message, _delivery.c.message_id == _message.c.id))
        .where(_queued_in(environment), as_stored(_delivery.c.recipient).startswith(PREFIX))
        .where(sa.or_(*(sa.func.lower(_delivery.c.domain).like(like(one), escape="|") for one in domains)))
        .order_by(_delivery.c.id.desc())
        .limit(MOST_OPENED)
    )
    with reading(engine) as connection:
        return frozenset(row.id for row in connection.execute(statement) if row.recipient in allowed)


def show(engine: sa.Engine, environment: str, allowed: Allowed | None, fitting: Collection[int] = ()) -> int:
    """Pause what is queued to others than those `allowed`, and lift what was paused so before; how many are in force.

    A domain of which nobody is allowed is paused as one, else each message by itself. `allowed` None: nothing is.
    `fitting`: what the function of that name gave.
    """
    with reading(engine) as connection:
        present = _present(connection, environment)
        wanted = set() if allowed is None else _wanted(connection, environment, allowed, fitting)
    if present.keys() == wanted:
        return len(wanted)
    with engine.begin() as connection:
        over = [id for scope, id in present.items() if scope not in wanted]
        if over:
            connection.execute(_pause.delete().where(_pause.c.id.in_(over)))
        for what, value in sorted(wanted - present.keys()):
            values = {
                "what": what,
                "value": value,
                "environment": environment,
                "transport": "",
                "reason": f"not among {BY}: {allowed}"[:500],
                "actor": BY,
                "since": DbNow(),
            }
            unique = ["what", "value", "environment", "transport"]  # an operator's stays
            connection.execute(of(connection).insert_unless_there(_pause, unique).values(values))
    return len(wanted)


def _present(connection: sa.Connection, environment: str) -> dict[Scope, int]:
    ours = sa.and_(_pause.c.actor == BY, _pause.c.environment == environment)
    rows = connection.execute(sa.select(_pause.c.id, _pause.c.what, _pause.c.value).where(ours))
    return {(row.what, row.value): row.id for row in rows}


def _queued_in(environment: str) -> sa.ColumnElement[bool]:
    return sa.and_(_delivery.c.state == State.QUEUED.value, _message.c.environment == environment)


def _wanted(connection: sa.Connection, environment: str, allowed: Allowed, fitting: Collection[int]) -> set[Scope]:
    joined = _delivery.join(_message, _delivery.c.message_id == _message.c.id)
    queued = sa.and_(_queued_in(environment), outside(_delivery, allowed, fitting))

    def found(column: sa.ColumnElement[Any], *where: sa.ColumnElement[bool]) -> list[Any]:
        statement = sa.select(column).select_from(joined).where(queued, *where).distinct().limit(MOST)
        return list(connection.execute(statement).scalars())

    domains = found(_delivery.c.domain)
    mixed = [domain for domain in domains if allowed.has_some_of(domain)]
    alone = found(_delivery.c.id, _delivery.c.domain.in_(mixed)) if mixed else []
    return {(What.DOMAIN.value, domain) for domain in domains if domain not in mixed} | {
        (What.MESSAGE.value, str(id)) for id in alone
    }
