"""What may still go by the rates of the settings: permits, reserved for all workers of a database in one place.

A permit counts as used from the moment that it is given out; what was not used is given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.core.clock import monotonic
from outbox.delivery.permits import Permits, Standing, permits
from outbox.delivery.rate_limits import SECOND, Cell, DayUse, RateLimits, bucket_end
from outbox.store import rate_holds
from outbox.store.compiled import Rendered
from outbox.store.connections import Connections
from outbox.store.databases import of
from outbox.store.models import table_of
from outbox.store.rate_models import OutboxRate
from outbox.store.types import DbMicros, DbNow

TRANSPORT, DOMAIN, SLOWED = "transport", "domain", "slowed"

_rate = table_of(OutboxRate)
_columns = [_rate.c[field.name] for field in fields(Standing)]
_numbers_of = attrgetter(*(field.name for field in fields(Standing)))
_this_row = sa.and_(*(_rate.c[name] == sa.bindparam(f"the_{name}") for name in ("environment", "what", "value")))


class Grant(NamedTuple):
    """What a reservation came to. Times in seconds, from the moment that the database looked: between `began` and
    `ended`, by the monotonic clock."""

    permits: int
    first: float = 0.0
    """When the first is good, the others after it at the pace of the rate a second."""
    wait: float = 0.0
    """If there is none: when to ask again."""
    life: float | None = None
    """They are a batch: each may be used for so long from `first` on."""
    began: float = 0.0
    ended: float = 0.0


class Rates:
    """The rates of one environment. Used by one thread, but for `give_back`."""

    def __init__(self, engine: Engine, connections: Connections, environment: str) -> None:
        self._engine = engine
        self._database = of(engine)
        self._connections = connections
        self._environment = environment
        self._rendered: dict[str, Rendered] = {}
        self._monotonic = monotonic

    def reserve(
        self,
        what: str,
        value: str,
        limits: RateLimits,
        wanted: int,
        *,
        per_second: float | None = None,
        paced: bool = True,
        worker: int | None = None,
        lead: float = 0.0,
    ) -> Grant:
        """Up to `wanted` permits. `per_second`: a lower rate than that of the limits, for now. Not `paced`: all that is
        granted may go at once. `worker`: who holds them, so that those of a quota are free again should it die.
        `lead`: seconds before which none can be used; the moments of a rate a second begin after that."""
        cells, key = limits.cells(per_second, paced=paced), self._key(what, value)
        holder = worker if limits.day is not None else None
        for _ in range(3):
            given, began, ended = self._reserve(key, limits, cells, wanted, round(lead * SECOND), holder)
            if given is not None:
                if not given.count:
                    return Grant(0, wait=given.wait / SECOND, began=began, ended=ended)
                batch = cells["second"].batch if given.is_batch else None
                life = None if batch is None else batch.life / SECOND
                return Grant(given.count, given.first / SECOND, life=life, began=began, ended=ended)
            self._count_again(key, limits)
        return Grant(0, wait=1.0)  # its clock jumps

    def give_back(
        self, what: str, value: str, count: int, age: float, *, limits: RateLimits, worker: int | None = None
    ) -> None:
        """`count` permits that were given out `age` seconds ago were not used.

        `worker`: as `reserve` had it; what others have given back in its name, taking it for dead, it can't again.
        """
        cells = limits.cells()
        with self._engine.begin() as connection:
            row = self._locked(connection, self._key(what, value))
            if row is None:
                return
            at = row.now - round(age * SECOND)
            held = rate_holds.recent(row.held, row.now)
            if worker is not None and limits.day is not None:
                if (entry := held.get(str(worker))) is None:
                    count = 0
                else:
                    already = entry[2] if len(entry) > 2 else 0
                    held[str(worker)] = [max(0, entry[0] - count), entry[1], max(0, already - count)]
                    count = max(0, count - already)
            earlier = {
                f"{word}_at": getattr(row, f"{word}_at") - count * cells[word].interval
                for word in ("minute", "hour")
                if word in cells
            }
            use = _use(row).without(count, at) if limits.day is not None else _use(row)
            self._write(connection, self._key(what, value), use, row.now, {**earlier, "held": held})

    def release_dead(self, workers: Sequence[int]) -> None:
        """Give back what these workers held, but for what they may have used. Not beside them."""
        for value, worker, count in rate_holds.holding(self._engine, self._environment, workers):
            key = self._key(TRANSPORT, value)
            with self._engine.begin() as connection:
                row = self._locked(connection, key)
                if row is None or (entry := row.held.get(str(worker))) is None:
                    continue
                use = _use(row).without(count, entry[1])
                left = [max(0, entry[0] - count), entry[1], count]
                self._write(connection, key, use, row.now, {"held": row.held | {str(worker): left}})

    def _reserve(
        self,
        key: dict[str, str],
        limits: RateLimits,
        cells: dict[str, Cell],
        wanted: int,
        lead: int,
        holder: int | None,
    ) -> tuple[Permits | None, float, float]:
        """What it gives, and when it looked: after a lock is had, and before the commit, where those are steps.

        None: there is no row, or its quota has to be counted again.
        """
        with self._connections.transaction() as connection:
            began = self._monotonic()
            row = self._execute(connection, "look", key).first()
            ended = self._monotonic()
            if row is None:
                return None, began, ended
            *numbers, now = (int(number) for number in row)
            standing = Standing(*numbers)
            if limits.day is not None and standing.good_until <= now:
                return None, began, ended
            given = permits(standing, cells, limits.day, wanted, now=now, lead=lead)
            values = {**key, **_left(given.standing), "said": str(limits)}
            if holder is not None and given.count:
                entry = self._database.entry(str(holder))
                self._execute(connection, "hold", {**values, "worker": entry, "count": given.count, "at": now})
            else:
                self._execute(connection, "take", values)
            return given, began, ended

    def _execute(self, connection: sa.Connection, name: str, values: dict[str, Any]) -> sa.CursorResult[Any]:
        if (rendered := self._rendered.get(name)) is None:
            rendered = self._rendered[name] = Rendered(self._statement(name), connection.dialect)
        return rendered.execute(connection, values)

    def _statement(self, name: str) -> sa.Executable:
        """`look` at the row and lock it; `take` permits, or take and `hold` them for a worker."""
        if name == "look":
            return self._database.lock(sa.select(*_columns, DbMicros()).where(_this_row))
        changes: dict[Any, Any] = {column: sa.bindparam(f"new_{column.name}") for column in _columns}
        if name == "hold":
            given = (sa.bindparam(name, type_=sa.BigInteger()) for name in ("count", "at"))
            worker = sa.bindparam("worker", type_=sa.String())
            changes[_rate.c.held] = self._database.with_entry(_rate.c.held, worker, *given)
        changes |= {_rate.c.limits: sa.bindparam("said"), _rate.c.updated_at: DbNow()}
        return _rate.update().where(_this_row).values(changes)

    def _count_again(self, key: dict[str, str], limits: RateLimits) -> None:
        """Make the row where there is none; count what is a day old no longer."""
        with self._engine.begin() as connection:
            if (row := self._locked(connection, key)) is None:
                values = {name.removeprefix("the_"): value for name, value in key.items()}
                unless_there = self._database.insert_unless_there(_rate, ["environment", "what", "value"])
                connection.execute(
                    unless_there.values(
                        **values, buckets=[], held={}, limits=str(limits), updated_at=DbNow(), good_until=0
                    )
                )
                return
            self._write(connection, key, _use(row), row.now, {"held": rate_holds.recent(row.held, row.now)})

    def _locked(self, connection: sa.Connection, key: dict[str, str]) -> Any:
        columns = (_rate, DbMicros().label("now"))
        return connection.execute(self._database.lock(sa.select(*columns).where(_this_row)), key).first()

    def _write(
        self, connection: sa.Connection, key: dict[str, str], use: DayUse, now: int, others: dict[str, Any]
    ) -> None:
        end = bucket_end(now)
        changes = {
            "used": use.used,
            "open_used": use.open(now),
            "open_until": end,
            "good_until": use.good_until(now),
            "buckets": [list(one) for one in use.buckets if one.until != end],
            **others,
        }
        connection.execute(_rate.update().where(_this_row).values(changes), key)

    def _key(self, what: str, value: str) -> dict[str, str]:
        return {"the_environment": self._environment, "the_what": what, "the_value": value[:255]}


def _left(standing: Standing) -> dict[str, int]:
    return {f"new_{column.name}": number for column, number in zip(_columns, _numbers_of(standing), strict=True)}


def use_of(buckets: Sequence[Sequence[int]], open_until: int, open_used: int, now: int) -> DayUse:
    """What a row says of the last 24 hours."""
    return DayUse.of([*((int(until), int(count)) for until, count in buckets), (open_until, open_used)], now)


def _use(row: Any) -> DayUse:
    return use_of(row.buckets, row.open_until, row.open_used, row.now)
