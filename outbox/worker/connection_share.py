"""How many of the connections that all workers may have to one transport are this worker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from outbox.core.clock import Debounce
from outbox.core.events import first_line, logger
from outbox.delivery.connection_shares import Share, may_open, to_hold
from outbox.settings import Settings
from outbox.settings.relay import Relay
from outbox.store.shares import Shares
from outbox.store.transports import Transports
from outbox.worker.asked import Asked
from outbox.worker.prefetch import PrefetchBuffer

_ENDED_SECONDS = 3.0  # between two looks whether others have ended that hold what this one lacks


class ConnectionShare:
    """One transport's, in one worker. For the thread that reads what other workers have."""

    def __init__(
        self, rows: Shares, name: str, worker_id: int, *, limit: int, own: int, busy: Callable[[], bool] | None = None
    ) -> None:
        """`limit`: of all workers together; `own`: the connections of this one. `busy`: whether it wants any now, where
        it does not claim all that is due; those that do always want theirs."""
        self._rows = rows
        self._name = name
        self._worker_id = worker_id
        self._limit = limit
        self._own = min(own, limit)
        self._busy = busy
        self._complains = Debounce(60.0).passes
        self._passes = Debounce(_ENDED_SECONDS).passes

    def look(self, shares: Mapping[int, Share], buffer: PrefetchBuffer) -> None:
        """Go by what all workers have, and write down what changes."""
        wants = self._own if self._busy is None or self._busy() or not buffer.idle else 0
        mine = shares.get(self._worker_id)
        if mine is None:
            buffer.limit(0)
        else:
            shares = {**shares, self._worker_id: Share(mine.held, wants)}
            buffer.limit(may_open(self._limit, shares, self._worker_id))
            goal = to_hold(self._limit, shares, self._worker_id, buffer.door.opened)
            if mine == Share(goal, wants) and (goal >= wants or not self._passes()):
                return  # else some of the others may have ended
        try:
            found = self._rows.settle(
                self._name,
                self._worker_id,
                wants,
                lambda there: to_hold(self._limit, there, self._worker_id, buffer.door.opened),
            )
        except Exception as error:  # noqa: BLE001 - the database is away: the next look tries again
            if self._complains():
                logger.error("the connections to %s can't be shared: %s", self._name, first_line(error))
            return
        if found is not None:
            buffer.limit(may_open(self._limit, found, self._worker_id))


def share_of(
    relay: Relay,
    rows: Transports,
    settings: Settings,
    worker_id: int,
    connections: int | None,
    asked: Mapping[str, Asked] | None,
) -> ConnectionShare | None:
    """That of a transport; None: there is no limit. `connections`: of the worker; None: as the settings say."""
    if relay.total_connections is None or settings.suppress_send:
        return None
    return ConnectionShare(
        rows.shares,
        relay.name,
        worker_id,
        limit=relay.total_connections,
        own=connections or relay.connections,
        busy=None if asked is None else lambda: asked[relay.name].is_busy,
    )
