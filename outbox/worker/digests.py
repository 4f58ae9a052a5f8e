"""Digests whose window has ended, made beside the sending, on the threads of `worker.effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.delivery.happened import DigestDue, Happened
from outbox.extension.digests import make
from outbox.extension.outbox import outbox_of
from outbox.extension.state import Bound
from outbox.settings import Settings
from outbox.store.digests import DigestQueue
from outbox.store.engines import with_own_pool
from outbox.store.leased_queue import Due
from outbox.worker.effect_calls import Calls
from outbox.worker.effects import Effects, Limits

if TYPE_CHECKING:
    import sqlalchemy as sa


def of_application(engine: sa.Engine, settings: Settings, bound: Bound) -> Effects:
    """For the digests of an application, whatever is defined when they are due."""
    digests = outbox_of(bound.app).digests
    engine = with_own_pool(engine)

    def handle(name: str, connection: sa.Connection, event: Happened) -> None:
        if isinstance(event, DigestDue):
            make(bound.app, digests, connection, event)

    return Effects(
        DigestQueue(engine, settings.environment),
        lambda: [one.name for one in digests],
        Calls(engine, handle, {}, done=_is_done),
        limits=Limits(settings.handler_attempts, settings.handler_seconds, settings.poll_seconds),
    )


def _is_done(connection: sa.Connection, due: Due) -> bool:
    """Its items are removed by `store.digests.take`."""
    return True
