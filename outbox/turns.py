"""Whose turn it is: how much of each claim goes to which lane, and to retries."""

from __future__ import annotations

from collections.abc import Mapping

from outbox.states import Lane

SLOTS = tuple(lane.slot(retry=retry) for lane in (Lane.HIGH, Lane.NORMAL, Lane.BULK) for retry in (False, True))
"""All index ranges, in the order in which they are served."""

SHARES = 8
"""Of so many places one is a retry's while new mail waits, and two are the bulk lane's."""

Shares = list[tuple[int, int]]
"""(slot, the most of it in one claim), in the order of SLOTS."""


class Turns:
    """Who gets how much of each claim: lower lanes and retries keep a share of all that is claimed, and no more.

    A claim may be for one mail only. What is due to somebody and does not fill a place is kept for the next ones.
    """

    def __init__(self) -> None:
        self._retries = 0
        self._bulk = SHARES // 2  # so that both do not fall due at once

    def next(self, limit: int) -> Shares:
        """For a claim of `limit`; what one leaves free is there for the next."""
        retries, self._retries = divmod(self._retries + limit, SHARES)
        bulk, self._bulk = divmod(self._bulk + 2 * limit, SHARES)
        most = {
            Lane.HIGH.slot(retry=True): max(1, limit // 4),
            Lane.NORMAL.slot(retry=False): max(0, limit - retries - bulk),
            Lane.NORMAL.slot(retry=True): retries,
        }
        return [(slot, most.get(slot, limit)) for slot in SLOTS]


def filled(shares: Shares, found: Mapping[int, int], limit: int) -> bool:
    """Whether some slot has got all of a share that was less than the `limit`; `found`: how many of each slot."""
    return any(found.get(slot, 0) == share < limit for slot, share in shares)


def whole_shares(limit: int) -> Shares:
    """To each whatever those before it leave."""
    return [(slot, limit) for slot in SLOTS]
