"""Whose turn it is: how much of each claim goes to which lane, and to retries.

Of eight places at most two go to retries of the high lane, one to those of the normal lane, and two are kept for the
bulk lane, every fourth of them for its retries. New mail of the high lane goes before all.

Where one message a minute goes out, as a probe, such a share is next to nothing, and the same retry of the high lane
would be the probe again and again. So retries take turns by how long they have waited there, whatever their lane.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from outbox.delivery.states import Lane

SLOTS = (
    Lane.HIGH.slot(retry=False),
    Lane.HIGH.slot(retry=True),
    Lane.NORMAL.slot(retry=False),
    Lane.NORMAL.slot(retry=True),
    Lane.BULK.slot(retry=True),  # its share is small, and new bulk mail takes whatever is left
    Lane.BULK.slot(retry=False),
)
"""All index ranges, in the order in which they are served."""

Shares = list[tuple[int, int]]
"""(slot, the most of it in one claim), in the order of SLOTS."""

_OF = 8
_BULK_RETRY_OF = 4


class Turns:
    """A claim may be for one mail only: what is due to somebody and does not fill a place is kept for the next ones."""

    def __init__(self) -> None:
        self._high = self._retries = self._bulk_retries = 0
        self._bulk = _OF // 2  # so that not all fall due at once
        self._new_first = True

    def next(self, limit: int) -> Shares:
        """For a claim of `limit`; what one leaves free is there for the next."""
        high, self._high = divmod(self._high + 2 * limit, _OF)
        retries, self._retries = divmod(self._retries + limit, _OF)
        bulk, self._bulk = divmod(self._bulk + 2 * limit, _OF)
        bulk_retries, self._bulk_retries = divmod(self._bulk_retries + bulk, _BULK_RETRY_OF)
        most = {
            Lane.HIGH.slot(retry=True): high,
            Lane.NORMAL.slot(retry=False): max(0, limit - retries - bulk),
            Lane.NORMAL.slot(retry=True): retries,
            Lane.BULK.slot(retry=True): bulk_retries,
        }
        return [(slot, most.get(slot, limit)) for slot in SLOTS]

    def next_probe(self, heads: Mapping[int, tuple[datetime, int]]) -> Shares:
        """For a claim of one probe; `heads`: (due time, id) of the first that is due, by slot.

        What has waited longest; every other time new mail goes before retries, that of the high lane first.
        """
        new = [lane.slot(retry=False) for lane in (Lane.HIGH, Lane.NORMAL, Lane.BULK)] if self._new_first else []
        chosen = next((slot for slot in new if slot in heads), None)
        if heads:
            self._new_first = not self._new_first
            chosen = min(heads, key=lambda slot: heads[slot]) if chosen is None else chosen
        return [(slot, int(slot == chosen)) for slot in SLOTS]


def cut_short(shares: Shares, found: Mapping[int, int], limit: int) -> bool:
    """Whether more may be due than was found, because a share was less than the `limit`.

    `found`: how many of each slot. Of a share of nothing that is known only if there was nothing else either.
    """
    return any(found.get(slot, 0) == share < limit for slot, share in shares if share or not found)


def whole_shares(limit: int) -> Shares:
    """To each whatever those before it leave."""
    return [(slot, limit) for slot in SLOTS]
