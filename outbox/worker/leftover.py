"""What a worker that lives for one pass leaves unsent, though it was due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import operations
from outbox.core.events import logger
from outbox.delivery.states import State
from outbox.operations.transports import left_behind
from outbox.settings import Settings
from outbox.store.queue import Queue
from outbox.store.reading import reading
from outbox.worker.pools import Pools

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def is_left(engine: Engine, queue: Queue, pools: Pools, settings: Settings, *, stopped: bool) -> bool:
    """Whether what was due stays queued for a fault of relay or account, which is logged. `stopped`: before its end."""
    names, pauses = [relay.name for relay in settings.transports], queue.pauses()
    stuck = pools.stuck
    with reading(engine) as connection:
        left = operations.left_due(connection, settings.environment, pauses, names, stopped=stopped, stuck=stuck)
        totals = pools.totals
        unsent = _still_queued(connection, totals.unsent | totals.broken)
    left |= unsent.keys()
    if not left:
        return False
    why = next(reversed(unsent.values()), None) or next(
        (one["error"] for one in pools.health()["transports"] if one["error"]), None
    )
    why = why or next((one.reply or one.reason for one in pauses if one.automatic), "")
    why = why or "; ".join(left_behind(route) for route in sorted(stuck))
    logger.error(
        "%s could not be sent through %s and will be retried (%s): see outbox-status and outbox-check",
        "1 due delivery" if len(left) == 1 else f"{len(left)} due deliveries",
        " or ".join(names),
        why,
    )
    return True


def say_held(engine: Engine, queue: Queue, settings: Settings) -> None:
    """Say what waits for a limit, for longer than one waits who sends until nothing is due."""
    with reading(engine) as connection:
        words = [one.words for one in operations.rates.rates(connection, settings.environment) if one.words]
    if words and (due := queue.due()):
        logger.warning(
            "%s not sent now: %s. What waits stays queued: run outbox-sender again then, or let one run.",
            "1 due delivery is" if due == 1 else f"{due} due deliveries are",
            "; ".join(words),
        )


def _still_queued(connection: Connection, unsent: dict[int, str]) -> dict[int, str]:
    """Without what another worker has sent, or is sending: this one may have been too slow to keep it."""
    if not unsent:
        return {}
    wanted = operations.Filter(ids=tuple(unsent), states=(State.QUEUED,))
    return {row.id: unsent[row.id] for row in operations.find(connection, wanted, limit=len(unsent))}
