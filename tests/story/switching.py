"""After a switch-over or a failover: whether the worker and the application are at the new primary."""

from __future__ import annotations

import time

import sqlalchemy as sa

from outbox.core.errors import DatabaseError
from outbox.models import OutboxWorker
from outbox.store.types import DbNow
from tests.story.stage import Relay, Stage, until

AGAIN_SECONDS = 15.0
"""So soon a worker sends again, unaided."""


def works_again(stage: Stage, relay: Relay, promoted_at: float, expected: int) -> None:
    """New mail goes out, and the heartbeat is in the new database, within the time; nothing is lost."""
    stage.engine.dispose()
    ids = set(until(lambda: _sent_again(stage), "the application writes to the new primary"))
    until(lambda: ids <= {one.id for one in relay.taken()}, "new mail arrives", 60)
    took = time.monotonic() - promoted_at
    assert stage.settle(60)["sent"] == expected + len(ids)
    assert took <= AGAIN_SECONDS

    def beats() -> bool:
        with stage.engine.connect() as connection:
            lately = sa.exists().where(OutboxWorker.heartbeat_at > DbNow(-2.0))
            return bool(connection.execute(sa.select(lately)).scalar_one())

    until(beats, "its heartbeat is there")


def _sent_again(stage: Stage) -> list[str] | None:
    try:
        return stage.send(3)
    except (sa.exc.DBAPIError, DatabaseError):
        stage.engine.dispose()  # as an application does whose pool has connections to the old primary
        return None
