"""What is left of a message whose recipient was erased: ids, times, size, kind and outcome."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import FINAL
from outbox.message.digest import ERASED
from outbox.operations.erase_text import Words
from outbox.operations.purge import DONE_WITH, remove_orphans, take_write_lock
from outbox.operations.tables import DELIVERY, MESSAGE, PART
from outbox.store.databases import of
from outbox.store.sealed_message import like_before
from outbox.store.types import DbNow

PAGE = 500
"""Messages emptied in one transaction."""

_EMPTY: dict[str, Any] = {
    "skeleton": b"",
    "utf8_header": None,
    "headers": [],
    "subject": "",
    "options": None,
    "metadata": None,
}


def empty_ended(engine: sa.Engine) -> int:
    """Empty what an erased person got together with others, where it has ended for them meanwhile; how many."""
    emptied, after = 0, 0
    while True:
        with engine.begin() as connection:
            pks = _unfinished(connection, after)
            emptied += len(empty(connection, pks, late=True)) if pks else 0
        if len(pks) < PAGE:
            return emptied
        after = pks[-1]


def _unfinished(connection: sa.Connection, after: int) -> list[int]:
    statement = (
        sa.select(MESSAGE.c.id)
        .distinct()
        .select_from(DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id))
        .where(DELIVERY.c.recipient == ERASED, MESSAGE.c.redacted_at.is_(None), MESSAGE.c.id > after)
        .order_by(MESSAGE.c.id)
        .limit(PAGE)
    )
    return list(connection.execute(statement).scalars())


def empty(connection: sa.Connection, message_pks: Sequence[int], *, late: bool = False) -> list[int]:
    """Take away all that those of the messages said that are done with for all of their recipients; which these are.

    Big parts that other messages share stay. `late`: whose address was erased is not known any more, so the envelope's
    sender goes as well.
    """
    if not message_pks:
        return []
    take_write_lock(connection)
    pks = _done(connection, message_pks)
    if not pks:
        return []
    values = _EMPTY | {"redacted_at": DbNow()} | ({"envelope_from": ERASED} if late else {})
    connection.execute(MESSAGE.update().where(MESSAGE.c.id.in_(pks)).values(values))
    of_these = PART.c.message_id.in_(pks)
    digests = set(connection.execute(sa.select(PART.c.digest).where(of_these)).scalars())
    connection.execute(PART.delete().where(of_these))
    remove_orphans(connection, digests)
    return pks


def _done(connection: sa.Connection, message_pks: Sequence[int]) -> list[int]:
    """Those that nobody sends or requeues; their deliveries are locked until the transaction ends."""
    these = DELIVERY.c.message_id.in_(message_pks)
    columns = (DELIVERY.c.message_id, DELIVERY.c.state, DELIVERY.c.recipient)
    rows = connection.execute(of(connection).lock(sa.select(*columns).where(these).order_by(DELIVERY.c.id))).all()
    ended: defaultdict[int, bool] = defaultdict(lambda: True)
    for row in rows:
        ended[row.message_id] &= row.state in DONE_WITH or (row.recipient == ERASED and row.state in FINAL)
    return sorted(pk for pk, so in ended.items() if so)


def without_address(row: Any, words: Words, *, ended: bool, own: bool = False) -> dict[str, Any]:
    """The columns of a message that name the address, without it.

    The frozen text is not among them, nor, until the message has `ended`, its envelope's sender: they are still sent.
    `own`: it goes to this address.
    """
    values: dict[str, Any] = {}
    headers = [[name, words.envelope.sub(ERASED, value)] for name, value in row.headers]
    if headers != [list(one) for one in row.headers]:
        values["headers"] = headers
    if words.whole.search(row.subject):
        values["subject"] = words.whole.sub(ERASED, row.subject)
    if row.key is not None and (words.loose if own else words.whole).search(row.key):  # keys are unique
        values["key"] = f"erased:{hashlib.sha256(row.key.encode()).hexdigest()}"
    kept = (row.options or {}).get("key")  # of sealed mail, whose key is a hash
    if kept and (words.loose if own else words.whole).search(kept[0]):
        values["options"] = {name: value for name, value in row.options.items() if name != "key"} or None
    if row.metadata is not None:
        text = json.dumps(row.metadata, ensure_ascii=False)
        if words.whole.search(text):
            values["metadata"] = json.loads(words.whole.sub(ERASED, text))
    if ended and (words.loose if own else words.envelope).search(row.envelope_from):
        values["envelope_from"] = ERASED
    return like_before(row.subject, values)
