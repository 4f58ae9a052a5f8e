"""What the application's own code does with mail that it has enqueued: find it, and change it while it waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from outbox.core.errors import MessageError
from outbox.delivery.states import State
from outbox.settings import Settings
from outbox.store.enqueue import write_bind, write_connection
from outbox.store.enqueue_many import Queued
from outbox.store.models import OutboxMessage
from outbox.store.sealed_message import key_forms
from outbox.store.transactions import writing_mail

if TYPE_CHECKING:  # most requests have no use for the rest
    from outbox import operations

Change = Callable[[sa.Connection, "operations.Filter"], int]
"""Changes what matches; how many deliveries."""


@dataclass(frozen=True, slots=True)
class Named:
    """Which mail is meant, in one of three ways."""

    message: OutboxMessage | Queued | int | None
    key: str | None
    delivery_ids: tuple[int, ...]

    @classmethod
    def of(
        cls, message: OutboxMessage | Queued | int | None, key: str | None, delivery_ids: Iterable[int] = ()
    ) -> Named:
        """Raises MessageError where nothing or more than one is named."""
        made = cls(message, key, tuple(delivery_ids))
        if sum((message is not None, key is not None, bool(made.delivery_ids))) != 1:
            raise MessageError(
                "message", "is not named, or more than one is", "Give a message, a key, or delivery ids."
            )
        return made

    @property
    def pk(self) -> int | None:
        """The primary key of a message that is named by itself."""
        return self.message if isinstance(self.message, int) or self.message is None else self.message.id


def change(session: Session, settings: Settings, named: Named, how: Change) -> int:
    """Change the deliveries that are named, in the session's transaction. How many."""
    from outbox import operations

    connection = write_connection(session)
    with writing_mail(connection):
        ids = named.delivery_ids or tuple(
            operations.deliveries_of(
                connection, named.pk, keys=_keys(settings, named.key), environment=settings.environment
            )
        )
        return how(connection, operations.Filter(ids=ids, environment=settings.environment)) if ids else 0


def find(session: Session, settings: Settings, named: Named) -> OutboxMessage | None:
    """The message with its deliveries, as the session's transaction sees it now."""
    wanted = OutboxMessage.id == named.pk if named.key is None else OutboxMessage.key.in_(_keys(settings, named.key))
    statement = (
        sa.select(OutboxMessage)
        .where(OutboxMessage.environment == settings.environment, wanted)
        .options(joinedload(OutboxMessage.deliveries))
        .execution_options(populate_existing=True)
    )
    with session.no_autoflush:  # of objects that the application has not completed
        found = session.scalars(statement, bind_arguments={"bind": write_bind(session)})
        return found.unique().first()


def _keys(settings: Settings, key: str | None) -> tuple[str, ...]:
    """A key as it may be stored."""
    if key is None:
        return ()
    return (key,) if settings.keyring is None else key_forms(key, settings.address_digest_key)


def sending(settings: Settings, at: datetime | None, by: str, note: str | None) -> Change:
    """Make queued mail due at another time; None: now."""

    def how(connection: sa.Connection, wanted: operations.Filter) -> int:
        from outbox import operations

        if at is None:
            return operations.send_now(connection, wanted, by=by, note=note, wake=settings.wake)
        return operations.reschedule(connection, wanted, at, by=by, note=note, wake=settings.wake)

    return how


def cancelling(by: str, note: str | None) -> Change:
    """Take queued mail back."""

    def how(connection: sa.Connection, wanted: operations.Filter) -> int:
        from outbox import operations

        return operations.cancel(connection, replace(wanted, states=(State.QUEUED,)), by=by, note=note)

    return how
