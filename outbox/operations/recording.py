"""Whether what becomes of mail can be recorded: by this driver, in these tables, with these rights."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from outbox.core.errors import DatabaseError
from outbox.operations.connect import TESTED_DRIVERS, guarded, where
from outbox.operations.finding import Finding
from outbox.store.databases import driver
from outbox.store.record import OutcomeStore


def check_recording(engine: sa.Engine) -> None:
    """Raises DatabaseError, or SchemaError, where a worker would send mail and could not record it."""
    try:
        with guarded(engine):
            OutcomeStore(engine).check()
    except DatabaseError as error:
        raise DatabaseError(
            f"what becomes of mail could not be recorded, so none is sent: {error}. Check the rights of the database's "
            "user on outbox_attempt and outbox_delivery, and that the tables are those of this release."
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # a driver that takes things otherwise
        raise DatabaseError(
            f"the driver {driver(engine)} of {where(engine)} does not take our statements "
            f"({type(error).__name__}: {error}), so no mail is sent. Use one of {TESTED_DRIVERS}."
        ) from error


def recording(engine: sa.Engine) -> Iterator[Finding]:
    """A finding where it can't be."""
    try:
        check_recording(engine)
    except DatabaseError as error:
        yield Finding("database", False, str(error))
