"""How the connections that one relay admits are divided between the workers of all hosts. Pure.

Each worker says how many it wants, and how many it holds; the sum of what is held never exceeds the limit. Who holds
more than its fair share gives up the rest once another lacks it, and only after it has closed those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker has of a limit."""

    held: int  # it may have so many open; nobody else counts on these
    wants: int


def fair(limit: int, wants: Mapping[int, int]) -> dict[int, int]:
    """What each should hold: as much as the others, unless it wants less; of what is left over the oldest get one."""
    given, left = dict.fromkeys(wants, 0), limit
    while left and (lacking := [one for one in sorted(wants) if given[one] < wants[one]]):
        each = max(1, left // len(lacking))
        for one in lacking:
            more = min(each, wants[one] - given[one], left)
            given[one] += more
            left -= more
    return given


def may_open(limit: int, shares: Mapping[int, Share], me: int) -> int:
    """How many this worker may have open: less than it holds, where another lacks what it has too much."""
    mine = shares[me].held
    goal = fair(limit, {one: share.wants for one, share in shares.items()})
    lacks = any(share.held < goal[one] for one, share in shares.items() if one != me)
    return min(mine, goal[me]) if lacks else mine


def to_hold(limit: int, shares: Mapping[int, Share], me: int, is_open: int) -> int:
    """What this worker should hold from now on, `is_open` of which it has open."""
    goal = fair(limit, {one: share.wants for one, share in shares.items()})[me]
    free = max(0, limit - sum(share.held for one, share in shares.items() if one != me))
    wanted = max(may_open(limit, shares, me), is_open)
    return min(max(wanted, goal) if shares[me].held <= goal else wanted, free)
