"""Remove mail that is done with and old, and big parts that nobody needs any more."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations import ends
from outbox.operations.audit import Trail
from outbox.operations.ends import Place
from outbox.operations.filters import Filter, clauses, narrowed
from outbox.operations.tables import ATTEMPT, BLOB, DELIVERY, MESSAGE, PART, THROTTLE, WORKER, in_states
from outbox.store.databases import of
from outbox.store.types import DbNow

DONE_WITH = (State.SENT, State.CANCELLED)
"""States that nobody has to look at again; failed and uncertain mail waits for a person."""

SWEPT = 100
"""Blobs looked at in passing at each purge, so that in time none is left behind."""


def purge(
    connection: sa.Connection,
    *,
    older_than: float,
    limit: int,
    states: tuple[State, ...] = DONE_WITH,
    wanted: Filter | None = None,
    trail: Trail | None = None,
    but_kinds: tuple[str, ...] = (),
) -> int:
    """Remove up to `limit` messages whose deliveries all ended, in `states`, over `older_than` seconds ago. How many.

    They go with their attempts. A message of which one delivery is younger, in another state or not `wanted` stays
    whole. Call it again, in a new transaction, until it returns 0. Also removes the rows of workers that stopped as
    long ago, and the big parts that no message refers to any more. `trail`: the audit's row, if a person does it.
    `but_kinds`: messages of these stay.
    """
    take_write_lock(connection)
    done = Done(older_than, states, wanted or Filter(), but_kinds=but_kinds)
    removed = remove(connection, _candidates(connection, done, limit), done)
    sweep(connection, done)
    if trail is not None:
        trail.add(connection, removed)
    return removed


def remove(connection: sa.Connection, message_pks: list[int], done: Done) -> int:
    """Remove those of the messages that are still done with, and the big parts that only they had; how many."""
    take_write_lock(connection)
    held = _held(connection, message_pks, done)
    message_pks = list(held)
    digests = _digests(connection, message_pks)
    _remove(connection, held, has_parts=bool(digests))
    remove_orphans(connection, digests)
    return len(message_pks)


def sweep(connection: sa.Connection, done: Done) -> None:
    """Remove a few big parts that were left over, rows of workers that stopped as long ago, and past throttles."""
    take_write_lock(connection)
    remove_orphans(connection, _some_digests(connection))
    _remove_workers(connection, done.older_than, done.wanted.environment)
    _remove_throttles(connection)


def _remove_throttles(connection: sa.Connection) -> None:
    """Those of which nothing counts any more."""
    over = THROTTLE.c.expires_at < DbNow()
    digests = sa.select(THROTTLE.c.digest).where(over).order_by(THROTTLE.c.expires_at).limit(SWEPT * 10)
    locked = list(connection.execute(of(connection).skip_locked(digests, to_delete=True)).scalars())
    if locked:
        connection.execute(THROTTLE.delete().where(THROTTLE.c.digest.in_(locked), over))


def _remove_workers(connection: sa.Connection, older_than: float, environment: str | None) -> None:
    stopped = WORKER.delete().where(WORKER.c.stopped_at < DbNow(-older_than))
    if environment is not None:
        stopped = stopped.where(WORKER.c.environment == environment)
    connection.execute(stopped)


@dataclass(frozen=True, slots=True)
class Done:
    """What makes a delivery done with."""

    older_than: float  # seconds
    states: tuple[State, ...]
    wanted: Filter
    kinds: tuple[str, ...] = ()  # of these alone; none: of all
    but_kinds: tuple[str, ...] = ()  # of none of these

    @property
    def whatever(self) -> Done:
        """What ended as long ago, of whatever message."""
        return Done(self.older_than, self.states, Filter())

    def narrowed(self, connection: sa.Connection) -> Done:
        """The same by fewer conditions, for `older_than` seconds: what another environment sends now is younger."""
        return replace(self, wanted=narrowed(connection, self.wanted))

    @property
    def source(self) -> sa.FromClause:
        """What `holds` speaks of."""
        if self.kinds or self.but_kinds or self.wanted.needs_message:
            return DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id)
        return DELIVERY

    @property
    def ended(self) -> sa.ColumnElement[bool]:
        """The part that changes with time; the rest of what is wanted stays as it is."""
        return sa.and_(DELIVERY.c.finished_at < DbNow(-self.older_than), in_states(self.states))

    @property
    def holds(self) -> sa.ColumnElement[bool]:
        found = [self.ended, *clauses(self.wanted)]
        if self.kinds:
            found.append(MESSAGE.c.kind.in_(self.kinds))
        if self.but_kinds:
            found.append(sa.func.coalesce(MESSAGE.c.kind, "").not_in(self.but_kinds))
        return sa.and_(*found)


def purgeable(
    connection: sa.Connection,
    *,
    older_than: float,
    states: tuple[State, ...],
    wanted: Filter,
    cap: int,
    but_kinds: tuple[str, ...] = (),
) -> int:
    """How many deliveries are done with, to `cap` + 1; their messages go where all of a message's are among them."""
    done = Done(older_than, states, wanted, but_kinds=but_kinds)
    inner = sa.select(DELIVERY.c.id).select_from(done.source).where(done.holds).limit(cap + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def take_write_lock(connection: sa.Connection) -> None:
    """Without row locks nothing may change between looking and removing; a write, even of nothing, takes the lock."""
    if of(connection).one_writer:
        connection.execute(BLOB.delete().where(BLOB.c.digest == ""))


class Seen(NamedTuple):
    """What one look along the order of ends has found."""

    messages: list[int]  # to be removed
    place: Place | None  # where it ended
    more: bool  # whether there may be more behind it


def look(connection: sa.Connection, done: Done, size: int, after: Place | None) -> Seen:
    """Look at the next `size` deliveries that ended long enough ago, of any environment: a look that costs little."""
    page = _page(connection, done.whatever, after, size)
    messages = {message_pk for message_pk, _ in page}
    if done != done.whatever:  # else `remove` finds out which are whole
        messages = _whole(connection, messages, done)
    return Seen(sorted(messages), _place(connection, page) or after, len(page) == size)


def _candidates(connection: sa.Connection, done: Done, limit: int) -> list[int]:
    """The messages of the deliveries that ended first, without those that have one that is not done with.

    Page by page along the index: as one statement the databases would run through the whole table for the siblings.
    """
    found: set[int] = set()
    after: Any = None
    while len(found) < limit:
        page = _page(connection, done, after, limit)
        found |= _whole(connection, {message_pk for message_pk, _ in page}, done)
        if len(page) < limit:
            break
        after = _place(connection, page) or after
    return sorted(found)[:limit]


def _page(connection: sa.Connection, done: Done, after: Place | None, limit: int) -> Sequence[Any]:
    """The next deliveries that are done with, in the order of their ends: message and delivery. No moments: to read a
    thousand of them takes the worker's process as long as all else of a purge."""
    statement = sa.select(DELIVERY.c.message_id, DELIVERY.c.id).select_from(done.source).where(done.holds)
    if after is not None:
        statement = statement.where(ends.after(after))
    return connection.execute(statement.order_by(*ends.OLDEST_FIRST).limit(limit)).all()


def _place(connection: sa.Connection, page: Sequence[Any]) -> Place | None:
    """Of the last one; None: there is none, or somebody has just requeued it."""
    if not page:
        return None
    last = sa.select(*ends.OLDEST_FIRST).where(DELIVERY.c.id == page[-1][1], DELIVERY.c.finished_at.is_not(None))
    row = connection.execute(last).first()
    return None if row is None else ends.place_of(row)


def _whole(connection: sa.Connection, message_pks: set[int], done: Done) -> set[int]:
    """Those of the messages of which no delivery is live, younger, in another state or not wanted."""
    pk = DELIVERY.c.message_id
    able = sa.func.count(sa.case((done.holds, 1)))
    these = among(connection, pk, sorted(message_pks))
    counted = sa.select(pk).select_from(done.source).where(these).group_by(pk).having(sa.func.count() == able)
    return {message_pk for (message_pk,) in connection.execute(counted).all()}


def locked(connection: sa.Connection, message_pks: list[int], done: Done) -> list[int]:
    """Those of the messages whose deliveries could all be locked and are still done with: nobody requeues them now."""
    return list(_held(connection, message_pks, done))


def _held(connection: sa.Connection, message_pks: list[int], done: Done) -> dict[int, list[int]]:
    """The same, each with its deliveries."""
    if not message_pks:
        return {}
    pk, id = DELIVERY.c.message_id, DELIVERY.c.id
    these = among(connection, pk, message_pks)
    statement = sa.select(pk, id).where(these, done.ended).order_by(id)
    found: defaultdict[int, list[int]] = defaultdict(list)
    for message_pk, delivery_id in connection.execute(of(connection).skip_locked(statement)).all():
        found[message_pk].append(delivery_id)
    there = Counter(message_pk for (message_pk,) in connection.execute(sa.select(pk).where(these)).all())
    return {pk: found[pk] for pk in message_pks if len(found[pk]) == there[pk]}


def _digests(connection: sa.Connection, message_pks: list[int]) -> set[str]:
    rows = connection.execute(sa.select(PART.c.digest).where(among(connection, PART.c.message_id, message_pks)))
    return set(rows.scalars())


def _some_digests(connection: sa.Connection) -> set[str]:
    """A few blobs from somewhere: a blob that was in use when its last message went is found by this, later."""
    now = connection.execute(sa.select(DbNow())).scalar_one()
    start = hashlib.sha256(str(now).encode()).hexdigest()
    rows = connection.execute(
        sa.select(BLOB.c.digest).where(BLOB.c.digest >= start).order_by(BLOB.c.digest).limit(SWEPT)
    )
    return set(rows.scalars())


def _remove(connection: sa.Connection, held: dict[int, list[int]], *, has_parts: bool) -> None:
    """Parts first, by hand: an application's SQLite may not enforce foreign keys, so no cascade is relied on."""
    if not held:
        return
    message_pks, ids = list(held), [id for ids in held.values() for id in ids]
    for start in range(0, len(ids), 1_000):
        some = ids[start : start + 1_000]
        connection.execute(ATTEMPT.delete().where(among(connection, ATTEMPT.c.delivery_id, some)))
        connection.execute(DELIVERY.delete().where(among(connection, DELIVERY.c.id, some)))
    if has_parts:
        connection.execute(PART.delete().where(among(connection, PART.c.message_id, message_pks)))
    connection.execute(MESSAGE.delete().where(among(connection, MESSAGE.c.id, message_pks)))


def among(connection: sa.Connection, column: sa.Column[int], values: Sequence[int]) -> sa.ColumnElement[bool]:
    """Whether `column` has one of the `values`: as one array where that can be, so that a thousand are planned once.

    Its text is written here: the drivers look at each number, which takes ten times as long.
    """
    if of(connection).hands_over_arrays:
        text = sa.literal("{" + ",".join(map(str, values)) + "}", sa.Text)
        return column == sa.any_(sa.cast(text, sa.ARRAY(sa.BigInteger)))
    return column.in_(values)


def remove_orphans(connection: sa.Connection, digests: set[str]) -> None:
    """Remove those of the blobs that nothing refers to.

    An enqueue holds a shared lock on each blob that it will refer to until its transaction ends (`enqueue.py`), so a
    blob that can be locked here is needed by nobody who is not yet seen. The look for references must be a statement
    after the lock, to see what was committed before it.
    """
    if not digests:
        return
    referred = sa.exists().where(PART.c.digest == BLOB.c.digest)
    orphans = sa.select(BLOB.c.digest).where(BLOB.c.digest.in_(sorted(digests)), ~referred).order_by(BLOB.c.digest)
    locked = list(connection.execute(of(connection).skip_locked(orphans, to_delete=True)).scalars())
    if locked:
        connection.execute(BLOB.delete().where(BLOB.c.digest.in_(locked), ~referred))
