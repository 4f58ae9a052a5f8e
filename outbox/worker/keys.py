"""Says at the start of a worker which keys it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import operations
from outbox.core.events import logger
from outbox.message.sealed import missing_key
from outbox.store.live_keys import missing_keys

if TYPE_CHECKING:
    from sqlalchemy import Engine


def report(engine: Engine) -> None:
    """Log each: mail that needs it waits."""
    with operations.connected(engine) as connection:
        for name in missing_keys(connection):
            logger.error("mail is queued that is %s: it waits (outbox-keys)", missing_key(name))
