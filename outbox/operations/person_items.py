"""What waits for digests of one address: found by its keyed digest, removed, and taken out of what waits for others."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from outbox.message.digest import ERASED
from outbox.message.sealed import Opened, json_like
from outbox.operations.erase_text import Words, mentions, windows, words_of
from outbox.operations.person import Budget
from outbox.operations.tables import DIGEST_ITEM
from outbox.store.reading import reading
from outbox.store.sealing import as_stored, opened_json, plain_type

_STORED = as_stored(DIGEST_ITEM.c.item).label("stored")


def items_for(connection: sa.Connection, hashed: str) -> list[tuple[Any, ...]]:
    """(digest's name, environment, recipient, gathered at, due at, item) of what waits for it, the oldest first."""
    columns = DIGEST_ITEM.c
    statement = sa.select(
        *(columns.name, columns.environment, columns.recipient, columns.created_at, columns.due_at, _STORED)
    ).where(columns.digest == hashed)
    rows = connection.execute(statement.order_by(columns.id)).all()
    return [(*row[:-1], _item(row.stored)) for row in rows]


def erase_items(
    engine: sa.Engine, spellings: Collection[str], hashed: str, *, dry_run: bool, budget: Budget
) -> tuple[int, int]:
    """How many items waited for the address, which are removed, and how many for others named it, which lose it."""
    mine = DIGEST_ITEM.c.digest == hashed
    with engine.begin() as connection:
        if dry_run:
            counted = sa.select(sa.func.count()).select_from(DIGEST_ITEM).where(mine)
            removed = int(connection.execute(counted).scalar_one())
        else:
            removed = connection.execute(DIGEST_ITEM.delete().where(mine)).rowcount
    words = words_of(spellings)
    escaped = {json.dumps(one)[1:-1] for one in spellings} | set(spellings)
    text = sa.cast(as_stored(DIGEST_ITEM.c.item), sa.Text)
    named = 0
    for window in windows(engine, DIGEST_ITEM, budget):
        with reading(engine) as connection:
            statement = sa.select(DIGEST_ITEM.c.id, DIGEST_ITEM.c.recipient, _STORED)
            rows = connection.execute(
                statement.where(window, DIGEST_ITEM.c.digest != hashed, mentions([text], escaped))
            )
            changes = {row.id: changed for row in rows if (changed := _without(row, words)) is not None}
        named += len(changes)
        if changes and not dry_run:
            with engine.begin() as connection:
                kind = plain_type(DIGEST_ITEM.c.item.type)
                for id, value in changes.items():
                    values = {"item": sa.bindparam(None, value, type_=kind)}
                    connection.execute(DIGEST_ITEM.update().where(DIGEST_ITEM.c.id == id).values(values))
    return removed, named


def _item(stored: Any) -> Any:
    opened = opened_json(stored, "item")
    return opened[0] if isinstance(opened, list) else str(opened)


def _without(row: Any, words: Words) -> Any:
    """What is to be stored in its place; None: it does not name the address, or can't be opened."""
    opened = opened_json(row.stored, "item")
    if not isinstance(opened, list):
        return None
    text = json.dumps(opened, ensure_ascii=False)
    if not words.whole.search(text):
        return None
    changed = json.loads(words.whole.sub(ERASED, text))
    return json_like(row.recipient, changed, "item") if isinstance(row.recipient, Opened) else changed
