"""Which deliveries of ours events are about. Looked up for many at once: a provider reports in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reported import ReportedEvent
from outbox.operations.conditions import MAX_ID
from outbox.operations.tables import ATTEMPT, DELIVERY, MESSAGE
from outbox.store.events import Tied, of_deliveries, tied_to

_MOST_TIED = 1_000  # deliveries that are looked through for the recipient of one event
_AT_ONCE = 200  # keys of one query

Key = int | str


class Tie(StrEnum):
    """How the delivery of an event was found."""

    TOKEN = "token"  # noqa: S105 - a signed address of ours
    RELAY_ID = "relay-id"  # the relay's own id from its 250
    MESSAGE_ID = "message-id"
    ATTEMPT = "attempt"  # a worker was told itself
    ADDRESS = "address"  # the newest to the address that was proven to be meant


class Ties:
    """The deliveries of some events, within one transaction."""

    def __init__(self, connection: sa.Connection, events: Iterable[ReportedEvent]) -> None:
        self._connection = connection
        self._asked: dict[Tie, list[Key]] = {Tie.RELAY_ID: [], Tie.MESSAGE_ID: []}
        self._rows: dict[Tie, dict[Key, list[Any]]] = {Tie.RELAY_ID: {}, Tie.MESSAGE_ID: {}}
        for event in events:
            if event.relay_id:
                self._asked[Tie.RELAY_ID].append(_relay_id(event.relay_id))
            if event.message_id:
                self._asked[Tie.MESSAGE_ID].append(_message_id(event.message_id))

    def of(self, event: ReportedEvent, known: str | None) -> Tied | None:
        """The delivery that `event` is about; None where there is none, or several may be meant.

        `known`: the digest of the reported recipient. A signed address names its delivery whoever is reported:
        forwarded mail bounces for another address.
        """
        if event.delivery_id is not None:
            return _only(Tie.TOKEN, None, self._token(DELIVERY.c.id == min(event.delivery_id, MAX_ID)))
        if event.message_pk is not None:
            return _only(Tie.TOKEN, known, self._token(DELIVERY.c.message_id == min(event.message_pk, MAX_ID)))
        if event.relay_id:
            found = _only(Tie.RELAY_ID, known, self._found(Tie.RELAY_ID, _relay_id(event.relay_id)))
            if found is not None:
                return found
        if event.message_id:
            return _only(Tie.MESSAGE_ID, known, self._found(Tie.MESSAGE_ID, _message_id(event.message_id)))
        return None

    def has_several(self, message_pk: int) -> bool:
        """Whether a message has more than one recipient, all of whom know its signed address."""
        ids = sa.select(DELIVERY.c.id).where(DELIVERY.c.message_id == min(message_pk, MAX_ID)).limit(2)
        return len(self._connection.execute(ids).all()) > 1

    def _token(self, where: sa.ColumnElement[bool]) -> Sequence[Any]:
        return self._connection.execute(of_deliveries().where(where).limit(_MOST_TIED)).all()

    def _found(self, by: Tie, key: Key) -> Sequence[Any]:
        known = self._rows[by]
        if key not in known:
            more = dict.fromkeys(one for one in self._asked[by] if one not in known and one != key)
            keys = [key, *list(more)[: _AT_ONCE - 1]]
            rows = self._of(by, keys, _MOST_TIED * 4)
            if len(keys) > 1 and len(rows) == _MOST_TIED * 4:  # messages to very many: each by itself
                keys, rows = [key], self._of(by, [key], _MOST_TIED)
            known.update({one: [] for one in keys})
            for row in rows:
                known[row.key].append(row)
        return known[key]

    def _of(self, by: Tie, keys: Sequence[Key], limit: int) -> Sequence[Any]:
        select = of_deliveries()
        if by is Tie.MESSAGE_ID:
            select = select.add_columns(MESSAGE.c.message_id.label("key")).where(MESSAGE.c.message_id.in_(keys))
        else:
            took = sa.select(ATTEMPT.c.delivery_id, ATTEMPT.c.relay_id).where(ATTEMPT.c.relay_id.in_(keys))
            accepted = took.distinct().subquery()
            select = select.join(accepted, accepted.c.delivery_id == DELIVERY.c.id)
            select = select.add_columns(accepted.c.relay_id.label("key"))
        return self._connection.execute(select.limit(limit)).all()


def _relay_id(id_: str) -> str:
    return id_[:255]


def _message_id(id_: str) -> str:
    return id_[:320]


def _only(by: Tie, known: str | None, rows: Sequence[Any]) -> Tied | None:
    """The one delivery that fits: that of the recipient, or the only one."""
    named = [row for row in rows if known is not None and row.digest == known]
    fitting = named or (rows if known is None or (by is Tie.TOKEN and len(rows) == 1) else [])
    return tied_to(fitting[0], by) if len(fitting) == 1 else None
