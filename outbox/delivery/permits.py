"""How many permits a rate's row gives out, and what the row says then: GCRA. Pure; times are whole microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from outbox.delivery.rate_limits import DAY, Batch, Cell


@dataclass(frozen=True, slots=True)
class Standing:
    """What was given out, as the row has it."""

    second_at: int  # theoretical arrival times
    minute_at: int
    hour_at: int
    lent_until: int  # from when on others may follow a batch
    used: int  # within a day, until `good_until`
    open_used: int  # of those, in the count that is being filled
    good_until: int


@dataclass(frozen=True, slots=True)
class Permits:
    """What is given out."""

    count: int
    first: int  # how long from now until the first is good
    wait: int  # if there is none: how long until it is worth asking again
    is_batch: bool
    standing: Standing  # from now on


def permits(
    standing: Standing, cells: Mapping[str, Cell], day: int | None, wanted: int, *, now: int, lead: int = 0
) -> Permits:
    """Up to `wanted` of them. `day`: the quota, whose count has to be good still. `lead`: how soon a message can go at
    the earliest."""
    bases = {word: _base(getattr(standing, f"{word}_at"), cell, now) for word, cell in cells.items()}
    batch = None
    if (second := cells.get("second")) is not None:
        fast = second.batch
        start = now if fast is None else _batch_start(standing, second, fast, now)
        if fast is not None and start <= now + fast.life:
            batch, bases["second"] = fast, start
        else:  # what follows a batch begins once none of that is good any more, and leaves room for it
            is_lent = fast is not None and standing.lent_until <= now + 3 * fast.life
            lent = standing.lent_until if is_lent else now
            bases["second"] = max(bases["second"], now + min(lead, second.ahead), lent)
    free = {word: bases[word] - (cell.burst - 1) * cell.interval - cell.ahead for word, cell in cells.items()}
    counts = {word: (now - free[word]) // cell.interval + 1 for word, cell in cells.items()}
    waits = [at - now for at in free.values()]
    if batch is not None:
        counts["second"] = batch.most
    if day is not None:
        counts["day"] = day - standing.used
        waits += [standing.good_until - now] if counts["day"] < 1 else []
    count = max(0, min([wanted, *counts.values()]))
    first = bases.get("second", now) - now
    left = _less(standing, cells, bases, batch, count, day) if count else standing
    return Permits(count, first, min(DAY, max([1, *waits])), batch is not None, left)


def _less(
    standing: Standing,
    cells: Mapping[str, Cell],
    bases: Mapping[str, int],
    batch: Batch | None,
    count: int,
    day: int | None,
) -> Standing:
    changes = {f"{word}_at": bases[word] + count * cell.interval for word, cell in cells.items()}
    if batch is not None:
        changes["second_at"] = bases["second"] + count * batch.interval
        changes["lent_until"] = bases["second"] + batch.life + count * cells["second"].interval
    if day is not None:
        changes |= {"used": standing.used + count, "open_used": standing.open_used + count}
    return replace(standing, **changes)


def _batch_start(standing: Standing, cell: Cell, batch: Batch, now: int) -> int:
    """From when on a batch may go. Permits with moments of their own leave free before it what a whole one takes up at
    once: another may follow this one in the same second."""
    if standing.second_at > now + cell.furthest:  # by a clock that has been stepped back since
        return now
    had_moments = standing.second_at > standing.lent_until  # those that were given out last
    return max(now, standing.second_at + (batch.most * cell.interval if had_moments else 0))


def _base(arrival: int, cell: Cell, now: int) -> int:
    """From when on the next message counts: not before now, nor by a clock that has been stepped back since."""
    return arrival if now < arrival <= now + cell.furthest else now
