"""The Date of messages whose due time was changed: theirs as long as no relay can have seen another one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.message.redate import redate
from outbox.operations.audit import Trail
from outbox.operations.tables import ATTEMPT, DELIVERY, MESSAGE
from outbox.store.sealed_message import like_before
from outbox.store.types import DbNow

CHUNK = 50
"""Messages whose bytes are in memory at once."""


class Dates:
    """Lets the Dates of messages follow their due times, each once, and keeps an audit of it."""

    def __init__(self, *, by: str, filters: str) -> None:
        self._seen: set[int] = set()
        self._trail = Trail("rewrite-date", by=by, filters=filters)

    def follow(self, connection: sa.Connection, message_pks: set[int]) -> None:
        """Date each message that was never offered to when the first of its deliveries is due, or to now.

        A Date that the application gave stays.
        """
        fresh = sorted(message_pks - self._seen)
        self._seen |= message_pks
        for start in range(0, len(fresh), CHUNK):
            self._rewrite(connection, fresh[start : start + CHUNK])

    def _rewrite(self, connection: sa.Connection, message_pks: list[int]) -> None:
        due = dict(_never_offered(connection, message_pks))
        if not due:
            return
        now = connection.execute(sa.select(DbNow())).scalar_one()
        rows = connection.execute(
            sa.select(
                *(MESSAGE.c[name] for name in ("id", "skeleton", "utf8_header", "headers", "options", "subject"))
            ).where(MESSAGE.c.id.in_(sorted(due)), MESSAGE.c.redacted_at.is_(None))
        ).all()
        changed = []
        for row in rows:
            if "date" in (row.options or {}):  # the application's own
                continue
            moment = max(now, due[row.id][0])
            dated = redate(bytes(row.skeleton), moment)
            if dated is not None and dated[0] != bytes(row.skeleton):
                _write(connection, row, *dated, _redated(row.utf8_header, moment))
                changed.append(row.id)
        self._trail.add(connection, len(changed), [id for pk in changed for id in due[pk][1]])


def _redated(utf8_header: Any, moment: datetime) -> Any:
    """The header of the other form, where there is one."""
    dated = utf8_header and redate(utf8_header["header"].encode() + b"\r\n\r\n", moment)
    return {**utf8_header, "header": dated[0].decode().removesuffix("\r\n\r\n")} if dated else utf8_header


def _write(connection: sa.Connection, row: Any, skeleton: bytes, value: str, utf8_header: Any) -> None:
    """The length is the same, so that neither the size nor the places of big parts change."""
    headers = [[name, value if name.lower() == "date" else text] for name, text in row.headers]
    values = {"skeleton": skeleton, "headers": headers, "utf8_header": utf8_header}
    connection.execute(MESSAGE.update().where(MESSAGE.c.id == row.id).values(like_before(row.subject, values)))


def _never_offered(
    connection: sa.Connection, message_pks: list[int]
) -> Iterator[tuple[int, tuple[datetime, list[int]]]]:
    """Those whose deliveries no worker has taken yet, each with when the first is due and their ids.

    The queued deliveries are locked, so that none is taken until the end of the transaction.
    """
    of_these = DELIVERY.c.message_id.in_(message_pks)
    queued: defaultdict[int, list[Any]] = defaultdict(list)
    locked = (
        sa.select(DELIVERY.c.id, DELIVERY.c.message_id, DELIVERY.c.due_at)
        .where(of_these, DELIVERY.c.state == State.QUEUED.value)
        .order_by(DELIVERY.c.id)
        .with_for_update()
    )
    for row in connection.execute(locked):
        queued[row.message_id].append(row)
    touched = set(connection.execute(_touched(of_these)).scalars())
    touched |= set(connection.execute(_attempted(of_these)).scalars())
    number = sa.func.count().label("number")
    live = sa.select(DELIVERY.c.message_id, number).where(of_these, DELIVERY.c.state == State.QUEUED.value)
    for row in connection.execute(live.group_by(DELIVERY.c.message_id)):
        found = queued[row.message_id]
        if row.message_id not in touched and len(found) == row.number:
            yield row.message_id, (min(one.due_at for one in found), _ids(found))


def _touched(of_these: sa.ColumnElement[bool]) -> sa.Select[tuple[int]]:
    new = sa.and_(
        DELIVERY.c.state.in_([State.QUEUED.value, State.CANCELLED.value]),
        DELIVERY.c.attempts == 0,
        DELIVERY.c.deferrals == 0,
        DELIVERY.c.rescues == 0,
        DELIVERY.c.marked_at.is_(None),
    )
    return sa.select(DELIVERY.c.message_id).distinct().where(of_these, sa.not_(new))


def _attempted(of_these: sa.ColumnElement[bool]) -> sa.Select[tuple[int]]:
    return (
        sa.select(DELIVERY.c.message_id)
        .distinct()
        .select_from(DELIVERY.join(ATTEMPT, ATTEMPT.c.delivery_id == DELIVERY.c.id))
        .where(of_these)
    )


def _ids(rows: Iterable[Any]) -> list[int]:
    return [row.id for row in rows]
