"""Which deliveries are next, and their lease: one statement where the database can, else a short transaction.

Each begins where the one before it ended (`claim_places`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.delivery.lane_shares import SLOTS, Shares, Turns, cut_short, whole_shares
from outbox.store import claim_sql
from outbox.store.claim_places import START, Place, Places
from outbox.store.claimed import Claimed, claimed_from
from outbox.store.compiled import Rendered
from outbox.store.databases import Database
from outbox.store.due import is_of
from outbox.store.messages import read_messages, stored_from
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.types import DbNow, utc

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)


class _Wanted(NamedTuple):
    """What one statement of a claim is to take, and for whom."""

    worker_id: int
    token: int
    limit: int
    shares: Shares
    places: dict[int, Place]  # where it begins in each slot
    ids: Sequence[int] = ()  # these alone, wherever they are


class Claims:
    """Claims one after the other for one worker: new mail of the high lane first, the others by their share."""

    def __init__(
        self,
        database: Database,
        environment: str,
        lease: float,
        monotonic: Callable[[], float],
        latest: Callable[[], datetime],
        transport: str | None = None,
        together: int = 1,
    ) -> None:
        """`latest`: what the database's clock can't be past by now unless it was stepped. `transport`: the one of
        several that is to send what is claimed. `together`: recipients of one message that share a transaction."""
        self._together = together
        self._transport = transport
        self._latest = latest
        self._database = database
        self._environment = environment
        self._lease = lease
        self._monotonic = monotonic
        self._turns = Turns()
        self._busy = False  # the last claim found something: the next one need not look first
        self.pass_over(None)

    @property
    def at_once(self) -> bool:
        """Whether a claim can be one statement."""
        return self._database.writes_in_queries

    @property
    def idle(self) -> bool:
        """Whether the last claim found nothing, so that a look may come before the next."""
        return not self._busy

    def is_any(self, connection: sa.Connection, *, probe: bool = False) -> bool:
        """Whether the next claim may find something; a search that has found nothing is remembered."""
        began, places = self._monotonic(), self._places
        if not places.paused:
            return self._is_any_behind(connection, {})
        if not places.is_search(began, probe=probe):
            return self._is_any_behind(connection, places.at)
        moment, by_heads = self._moment(connection), places.is_by_heads(began, probe=probe)
        again, places.again = places.again, False
        found = self._is_any_behind(connection, {})
        places.again |= again and found  # for the claim that follows
        if not found:
            places.searched(began, self._monotonic(), (), until=moment, by_heads=by_heads)
        return found

    def search(self, *, again: bool) -> None:
        """`again`: the next claim begins at the start. Thread-safe."""
        self._places.again |= again

    def pass_over(self, paused: sa.ColumnElement[bool] | None) -> None:
        """Leave alone what this holds for, from the next claim on."""
        self._places = Places(paused is not None)
        condition = is_of(claim_sql.bound("environment", sa.String()))
        self._mine = condition if paused is None else sa.and_(condition, sa.not_(paused))
        self._head, self._any = claim_sql.head_of(self._mine, self._database), claim_sql.any_due(self._mine)
        self._any_behind = claim_sql.any_behind(self._mine, self._database)
        self._first = claim_sql.of_slot(self._mine, self._database).limit(1)
        self._whole: Rendered | None = None
        self._of_ids: dict[bool, sa.Select[Any]] = {}  # by whether it is a whole claim

    def claim(
        self,
        connection: sa.Connection,
        worker_id: int,
        token: int,
        limit: int,
        *,
        carefully: bool = False,
        probe: bool = False,
        ids: Sequence[int] = (),
        whole: bool = False,
        exact: bool = False,
    ) -> list[Claimed]:
        """Up to `limit` deliveries, and more of the last message if it has several recipients. `carefully`: such that
        a row that can't be read spoils no other. `probe`: one, by the turns of probes. `ids`: of these alone,
        whichever are due. `whole`: a limit of one means one message, with its recipients.
        `exact`: no more than `limit`, whatever is cut off."""
        if ids:
            return self._named(connection, _Wanted(worker_id, token, limit, [], {}, ids), carefully=carefully)
        how = self._by_steps if carefully or not self.at_once else self._at_once
        began, places = self._monotonic(), self._places
        by_heads, search = places.is_by_heads(began, probe=probe), places.is_search(began, probe=probe)
        shares: Shares = [] if by_heads else self._turns.next(limit)

        def take(begin: dict[int, Place]) -> list[Claimed]:
            wanted = _Wanted(worker_id, token, limit, shares, begin)
            found = how(connection, wanted)
            rest = limit - len(found)
            if rest > limit // 2 and cut_short(shares, Counter(one.slot for one in found), limit):
                further = wanted._replace(limit=rest, shares=whole_shares(rest), places=begin | dict(_ends(found)))
                found += how(connection, further)
            for slot, rest in _cut_off(found, 1 if whole else 2, shares, 1 if exact else self._together):
                rest = min(rest, claim_sql.queued_of(connection, found[-1].message.pk)) if whole else rest
                if not rest:
                    continue
                only = [(one, rest if one == slot else 0) for one in SLOTS]
                further = wanted._replace(limit=rest, shares=only, places=begin | dict(_ends(found)))
                found += how(connection, further)
            return found

        if not search:
            found = take(places.at)
            places.found(_ends(found))
            if found or places.paused:
                return found
        moment, places.again = self._moment(connection), False
        if by_heads and (heads := self._heads(connection)):
            shares = self._turns.next_probe(heads)
        self._busy = self._busy and bool(shares)
        found = take({}) if shares else []
        until = moment if len(found) < limit else None
        places.searched(began, self._monotonic(), _ends(found), until=until, by_heads=by_heads)
        return found

    def _moment(self, connection: sa.Connection) -> datetime | None:
        """Asked before a search, where some mail is paused."""
        return connection.execute(sa.select(DbNow())).scalar_one() if self._places.paused else None

    def _is_any_behind(self, connection: sa.Connection, places: dict[int, Place]) -> bool:
        values: dict[str, Any] = {"environment": self._environment}
        if not places or not self._places.paused:
            return connection.execute(self._any, values).first() is not None
        values["latest"] = self._latest()
        for slot in SLOTS:
            values[f"due_{slot}"], values[f"id_of_{slot}"] = places.get(slot, START)
        return connection.execute(self._any_behind, values).first() is not None

    def _heads(self, connection: sa.Connection) -> dict[int, Place]:
        """The first that is due in each slot."""
        due_at, id_ = START
        of_all = {"environment": self._environment, "due": due_at, "id": id_, "latest": self._latest()}
        rows = {slot: connection.execute(self._first, {**of_all, "slot": slot}).first() for slot in SLOTS}
        return {slot: (utc(row.due_at), row.id) for slot, row in rows.items() if row is not None}

    def _at_once(self, connection: sa.Connection, wanted: _Wanted) -> list[Claimed]:
        values: dict[str, Any] = {
            "limit": wanted.limit,
            "environment": self._environment,
            "lease": self._lease,
            "worker": wanted.worker_id,
            "token": wanted.token,
            "latest": self._latest(),
        }
        for slot, share in wanted.shares:
            due_at, id_ = wanted.places.get(slot, START)
            values |= {f"share_{slot}": share, f"due_{slot}": due_at, f"id_of_{slot}": id_}
        if self._whole is None:
            self._whole = Rendered(
                claim_sql.whole_claim(self._mine, self._database, self._transport), connection.dialect
            )
        return self._taken(self._whole.execute(connection, values).all(), wanted)

    def _taken(self, found: Sequence[Any], wanted: _Wanted) -> list[Claimed]:
        rows = sorted(found, key=lambda row: (row.lane, utc(row.due_at), row.id))  # a join promises no order
        claimed, message, pk = [], None, None
        for row in rows:
            if message is None or row.pk is None or row.pk != pk:  # deliveries of one message share it
                message, pk = stored_from(row, row.parts, self._environment), row.pk
            claimed.append(claimed_from(row, wanted.token, message))
        return claimed

    def _named(self, connection: sa.Connection, wanted: _Wanted, *, carefully: bool) -> list[Claimed]:
        values = {"environment": self._environment, "ids": wanted.ids, "limit": wanted.limit, "latest": self._latest()}
        whole = self.at_once and not carefully
        if whole not in self._of_ids:
            named = claim_sql.of_ids(self._mine, self._database)
            self._of_ids[whole] = (
                claim_sql.leased_and_read(named.cte("picked"), self._database, self._transport) if whole else named
            )
        if not whole:
            return self._leased(connection, wanted, connection.execute(self._of_ids[whole], values).all())
        values |= {"lease": self._lease, "worker": wanted.worker_id, "token": wanted.token}
        return self._taken(connection.execute(self._of_ids[whole], values).all(), wanted)

    def _by_steps(self, connection: sa.Connection, wanted: _Wanted) -> list[Claimed]:
        rows: list[sa.Row[Any]] = []
        if not self._busy and not self._is_any_behind(connection, wanted.places):
            return []
        for slot, share in wanted.shares:
            room = min(share, wanted.limit - len(rows))
            if room > 0:
                due_at, id_ = wanted.places.get(slot, START)
                values = {"environment": self._environment, "slot": slot, "due": due_at, "id": id_, "room": room}
                values["latest"] = self._latest()
                rows += connection.execute(self._head, values).all()
        self._busy = bool(rows)
        return self._leased(connection, wanted, rows)

    def _leased(self, connection: sa.Connection, wanted: _Wanted, rows: Sequence[sa.Row[Any]]) -> list[Claimed]:
        if not rows:
            return []
        messages = read_messages(connection, {row.message_pk for row in rows}, self._environment)
        connection.execute(
            claim_sql.lease(self._transport),
            {
                "ids": sorted(row.id for row in rows),
                "lease": self._lease,
                "worker": wanted.worker_id,
                "token": wanted.token,
            },
        )
        return [claimed_from(row, wanted.token, messages[row.message_pk]) for row in rows]


def _ends(found: list[Claimed]) -> Iterator[tuple[int, Place]]:
    """Where a claim has ended, by slot: the last of each counts."""
    return ((one.slot, (one.due_at, one.id)) for one in found)


def _cut_off(found: list[Claimed], least: int, shares: Shares, together: int) -> list[tuple[int, int]]:
    """By slot, how many more recipients the last message may have, of which a claim has taken `least` or more."""
    if together == 1 or len(found) < least:
        return []
    ends: dict[int, list[Claimed]] = {}
    for one in found:
        ends.setdefault(one.slot, []).append(one)
    cut = []
    for slot, of_slot in ends.items():
        last, share = of_slot[-1].message.pk, sum(share for one, share in shares if one == slot)
        if len(of_slot) >= max(least, share) and of_slot[-least].message.pk == last:
            taken = sum(one.message.pk == last for one in of_slot)
            if rest := -taken % together:
                cut.append((slot, rest))
    return cut
