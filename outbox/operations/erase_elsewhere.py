"""Take an address out of what workers and operators wrote beside the mail: pauses of a sender, health, transports."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import LIVE
from outbox.operations.erase_text import mentions, verp_forms, words_of
from outbox.operations.tables import DELIVERY, MESSAGE, PAUSE, TRANSPORT, WORKER
from outbox.store.pauses import What
from outbox.store.reading import reading

_LIVE = [state.value for state in LIVE]


def erase_elsewhere(
    engine: sa.Engine, spellings: Collection[str], instead: str, *, dry_run: bool
) -> tuple[int, int, dict[str, int]]:
    """Pauses of the address as a sender; how many of them stay for now; rows of workers and transports that quote it.

    A pause goes when no mail of that sender is left that it could hold. A worker that runs writes its last errors again
    with its next heartbeat.
    """
    found, kept = _pauses(engine, spellings, dry_run=dry_run)
    texts = {"worker": _health(engine, spellings, instead, dry_run=dry_run)}
    return found, kept, texts | {"transport": _transports(engine, spellings, instead, dry_run=dry_run)}


def _pauses(engine: sa.Engine, spellings: Collection[str], *, dry_run: bool) -> tuple[int, int]:
    words = words_of(spellings).envelope
    named = mentions([PAUSE.c.value], set(spellings) | verp_forms(spellings))
    with reading(engine) as connection:
        statement = sa.select(PAUSE.c.id, PAUSE.c.value).where(PAUSE.c.what == What.SENDER.value, named)
        found = [row for row in connection.execute(statement) if words.search(row.value)]
    gone = []
    for row in found:
        live = (
            sa.select(DELIVERY.c.id)
            .select_from(DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id))
            .where(DELIVERY.c.due_at.is_not(None), DELIVERY.c.state.in_(_LIVE), MESSAGE.c.envelope_from == row.value)
        )
        with reading(engine) as connection:
            if connection.execute(live.limit(1)).first() is None:
                gone.append(row.id)
    if gone and not dry_run:
        with engine.begin() as connection:
            connection.execute(PAUSE.delete().where(PAUSE.c.id.in_(gone)))
    return len(found), len(found) - len(gone)


def _health(engine: sa.Engine, spellings: Collection[str], instead: str, *, dry_run: bool) -> int:
    words, escaped = words_of(spellings).envelope, {json.dumps(one)[1:-1] for one in spellings} | set(spellings)
    with reading(engine) as connection:
        statement = sa.select(WORKER.c.id, WORKER.c.health)
        rows = connection.execute(statement.where(mentions([sa.cast(WORKER.c.health, sa.Text)], escaped))).all()
    changed = {row.id: _scrubbed(row.health, words, instead) for row in rows}
    changed = {row.id: changed[row.id] for row in rows if changed[row.id] != row.health}
    if changed and not dry_run:
        with engine.begin() as connection:
            for id, health in changed.items():
                connection.execute(WORKER.update().where(WORKER.c.id == id).values(health=health))
    return len(changed)


def _scrubbed(value: Any, words: Any, instead: str) -> Any:
    if isinstance(value, str):
        return words.sub(instead, value)
    if isinstance(value, dict):
        return {words.sub(instead, name): _scrubbed(one, words, instead) for name, one in value.items()}
    return [_scrubbed(one, words, instead) for one in value] if isinstance(value, list) else value


def _transports(engine: sa.Engine, spellings: Collection[str], instead: str, *, dry_run: bool) -> int:
    words = words_of(spellings).envelope
    with reading(engine) as connection:
        rows = connection.execute(
            sa.select(TRANSPORT.c.environment, TRANSPORT.c.name, TRANSPORT.c.error).where(
                mentions([TRANSPORT.c.error], spellings)
            )
        ).all()
    rows = [row for row in rows if words.search(row.error)]
    if rows and not dry_run:
        with engine.begin() as connection:
            for row in rows:
                same = sa.and_(TRANSPORT.c.environment == row.environment, TRANSPORT.c.name == row.name)
                text = words.sub(instead, row.error)[:1100]
                connection.execute(TRANSPORT.update().where(same, TRANSPORT.c.error == row.error).values(error=text))
    return len(rows)
