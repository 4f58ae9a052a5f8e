"""Messages to others that name an erased address: in Reply-To or another header, the subject, the key, the metadata."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from outbox.message.digest import ERASED
from outbox.operations.erase_message import empty, without_address
from outbox.operations.erase_text import mentions, pattern, windows
from outbox.operations.purge import DONE_WITH
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.store.reading import reading

_COLUMNS = ("id", "headers", "subject", "key", "metadata", "envelope_from", "redacted_at")
PORTION = 500


def erase_named(engine: sa.Engine, spellings: Collection[str], digest: str, *, dry_run: bool) -> tuple[int, int]:
    """Take the address out of what did not go to it. The text goes, too, where it is not to be sent any more.

    How many there were, and how many of them keep their text until they have ended.
    """
    wanted = pattern(spellings)
    escaped = {json.dumps(one)[1:-1] for one in spellings} | set(spellings)
    texts = [sa.cast(MESSAGE.c[name], sa.Text) for name in ("headers", "subject", "key", "metadata", "envelope_from")]
    to_it = sa.or_(DELIVERY.c.digest == digest, DELIVERY.c.recipient.in_(sorted(spellings)))
    others = ~sa.exists().where(DELIVERY.c.message_id == MESSAGE.c.id, to_it)
    named = waiting = 0
    for window in windows(engine, MESSAGE):
        with reading(engine) as connection:
            statement = sa.select(*(MESSAGE.c[name] for name in _COLUMNS)).where(
                window, mentions(texts, escaped), others
            )
            rows = [row for row in connection.execute(statement) if without_address(row, wanted, ended=True)]
        for start in range(0, len(rows), PORTION):
            some = rows[start : start + PORTION]
            ended = _ended(engine, some) if dry_run else _portion(engine, some, wanted)
            named += len(some)
            waiting += len(some) - len(ended)
    return named, waiting


def _ended(engine: sa.Engine, rows: Sequence[Any]) -> set[int]:
    pks = {row.id for row in rows}
    open_ = sa.and_(DELIVERY.c.state.not_in([state.value for state in DONE_WITH]), DELIVERY.c.recipient != ERASED)
    with reading(engine) as connection:
        statement = sa.select(DELIVERY.c.message_id).where(DELIVERY.c.message_id.in_(pks), open_)
        return pks - set(connection.execute(statement).scalars())


def _portion(engine: sa.Engine, rows: Sequence[Any], wanted: Any) -> set[int]:
    with engine.begin() as connection:
        ended = set(empty(connection, [row.id for row in rows]))
        for row in rows:
            values = without_address(row, wanted, ended=row.id in ended)
            if row.id in ended:  # emptied already
                values = {name: value for name, value in values.items() if name in ("key", "envelope_from")}
            if values:
                connection.execute(MESSAGE.update().where(MESSAGE.c.id == row.id).values(values))
    return ended
