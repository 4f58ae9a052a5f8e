"""Messages to others that name an erased address: in Reply-To or another header, the subject, the key, the metadata."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from outbox.message.digest import ERASED
from outbox.operations.erase_message import empty, without_address
from outbox.operations.erase_text import Words, mentions, verp_forms, windows, words_of
from outbox.operations.person import PORTION, Budget
from outbox.operations.purge import DONE_WITH
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.store.reading import reading

COLUMNS = ("id", "headers", "subject", "key", "metadata", "options", "envelope_from", "redacted_at")


def named(engine: sa.Engine, spellings: Collection[str], digest: str, *, budget: Budget) -> Iterator[list[sa.Row[Any]]]:
    """Messages to others alone that name the address, a window of the table at a time: `COLUMNS`."""
    words = words_of(spellings)
    texts = [sa.cast(MESSAGE.c[name], sa.Text) for name in ("headers", "subject", "key", "metadata", "envelope_from")]
    plain = set(spellings) | verp_forms(spellings)
    escaped = {json.dumps(one)[1:-1] for one in plain} | plain
    to_it = sa.or_(DELIVERY.c.digest == digest, DELIVERY.c.recipient.in_(sorted(spellings)))
    others = ~sa.exists().where(DELIVERY.c.message_id == MESSAGE.c.id, to_it)
    for window in windows(engine, MESSAGE, budget):
        with reading(engine) as connection:
            statement = sa.select(*(MESSAGE.c[name] for name in COLUMNS)).where(
                window, mentions(texts, escaped), others
            )
            yield [row for row in connection.execute(statement) if without_address(row, words, ended=True)]


def erase_named(
    engine: sa.Engine, spellings: Collection[str], digest: str, *, dry_run: bool, budget: Budget
) -> tuple[int, int]:
    """Take the address out of what did not go to it. The text goes, too, where it is not to be sent any more.

    How many there were, and how many of them keep their text until they have ended.
    """
    words, count, waiting = words_of(spellings), 0, 0
    for rows in named(engine, spellings, digest, budget=budget):
        for start in range(0, len(rows), PORTION):
            some = rows[start : start + PORTION]
            ended = _ended(engine, some) if dry_run else _portion(engine, some, words)
            count += len(some)
            waiting += len(some) - len(ended)
    return count, waiting


def _ended(engine: sa.Engine, rows: Sequence[Any]) -> set[int]:
    pks = {row.id for row in rows}
    open_ = sa.and_(DELIVERY.c.state.not_in([state.value for state in DONE_WITH]), DELIVERY.c.recipient != ERASED)
    with reading(engine) as connection:
        statement = sa.select(DELIVERY.c.message_id).where(DELIVERY.c.message_id.in_(pks), open_)
        return pks - set(connection.execute(statement).scalars())


def _portion(engine: sa.Engine, rows: Sequence[Any], words: Words) -> set[int]:
    with engine.begin() as connection:
        ended = set(empty(connection, [row.id for row in rows]))
        for row in rows:
            values = without_address(row, words, ended=row.id in ended)
            if row.id in ended:  # emptied already
                values = {name: value for name, value in values.items() if name in ("key", "envelope_from")}
            if values:
                connection.execute(MESSAGE.update().where(MESSAGE.c.id == row.id).values(values))
    return ended
