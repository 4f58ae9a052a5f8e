"""The list of addresses that get no mail, for the application's own code: `mail.suppressions`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from outbox.core import clock
from outbox.core.errors import MessageError
from outbox.delivery.suppression import ALL, Why, stopping
from outbox.extension.options import instant
from outbox.extension.state import Bound
from outbox.message.addresses import parse
from outbox.store.enqueue import write_connection
from outbox.store.transactions import writing_mail

if TYPE_CHECKING:  # most requests have no use for it
    from outbox.operations.suppressions import Entry

_T = TypeVar("_T")
_SCOPE = "Give all, category:NAME or kind:NAME."


class Suppressions:
    """`mail.suppressions`: read and changed in the caller's transaction, which it never commits.

    `session`: by default that given to `init_app`. Addresses are compared in the form in which two are one mailbox.
    A method raises MessageError for an invalid address, scope, reason or time; then nothing is written.
    """

    def __init__(self, bound: Callable[[], Bound]) -> None:
        self._bound = bound

    def add(
        self,
        address: str,
        scope: str = ALL,
        session: Any = None,
        *,
        until: datetime | None = None,
        reason: str = "manual",
        note: str | None = None,
        by: str = "application",
    ) -> bool:
        """Send no mail of `scope` to `address` until then, or for good; whether that is new.

        `scope`: "all", "category:NAME" or "kind:NAME". `until`: an aware datetime. `reason`: "manual", "bounced",
        "complained" or "unsubscribed". `by` and `note`: for the audit and for those who look at the list.
        """
        why, end, scope = _why(reason), instant("until", until), _scope(scope)
        seconds = None if end is None else (end - clock.utcnow()).total_seconds()
        if seconds is not None and seconds <= 0:
            raise MessageError("until", f"{until} is past", "Give a time to come, or leave it out for good.")

        def change(connection: sa.Connection, address: str, key: bytes) -> bool:
            from outbox.operations import suppressions

            return suppressions.suppress(
                connection, address, scope, by=by, address_key=key, reason=why, note=note, seconds=seconds
            )

        return self._do(session, address, change)

    def remove(
        self,
        address: str,
        scope: str | None = None,
        session: Any = None,
        *,
        reason: str | None = None,
        note: str | None = None,
        by: str = "application",
    ) -> int:
        """Let `address` get mail again, of one scope or of every one; how many entries were removed.

        `reason`: only those with this one. It sends nothing: what failed meanwhile has to be requeued.
        """
        why = None if reason is None else _why(reason)
        scope = None if scope is None else _scope(scope)

        def change(connection: sa.Connection, address: str, key: bytes) -> int:
            from outbox.operations import suppressions

            return suppressions.lift(connection, address, scope, by=by, address_key=key, reason=why, note=note)

        return self._do(session, address, change)

    def find(self, address: str, scope: str | None = None, session: Any = None) -> list[Entry]:
        """The entries in force for `address`, the newest first; with `scope`, those of exactly this one.

        Each has `scope`, `reason`, `since`, `until` (None: for good), `note` and `actor`.
        """
        wanted_scope = None if scope is None else _scope(scope)

        def read(connection: sa.Connection, address: str, key: bytes) -> list[Entry]:
            from outbox.operations.suppressions import Wanted, entries

            return entries(connection, Wanted(address=address, scope=wanted_scope), address_key=key)

        return self._do(session, address, read)

    def stops(
        self, address: str, session: Any = None, *, kind: str | None = None, category: str | None = None
    ) -> Entry | None:
        """The entry that would stop a message to `address` now, by the rules of a claim; None: it would be sent.

        `kind`: of the message. `category`: by default that of the kind.
        """
        policy = self._bound().kinds.policy(kind)
        category = category or (str(policy.category) if policy and policy.category else None)
        for one in self.find(address, session=session):
            if stopping([one.suppressed], kind, category) is not None:
                return one
        return None

    def _do(self, session: Any, address: str, how: Callable[[sa.Connection, str, bytes], _T]) -> _T:
        bound, envelope = self._bound(), parse(address, "address").envelope
        with bound.writing(session) as (current, _):
            connection = write_connection(current)
            with writing_mail(connection):
                return how(connection, envelope, bound.settings.address_digest_key)


class Suppressing:
    """What an `Outbox` has of this."""

    @property
    def suppressions(self) -> Suppressions:
        """The addresses that get no mail, and which mail of: `add`, `remove`, `find`, `stops`."""
        return Suppressions(self._bound)  # type: ignore[attr-defined]  # Outbox's


def _scope(scope: str) -> str:
    from outbox.operations.suppressions import check_scope

    try:
        return check_scope(scope)
    except ValueError as problem:
        raise MessageError("scope", str(problem).removeprefix("the scope "), _SCOPE) from None


def _why(reason: str) -> Why:
    try:
        return Why(reason)
    except ValueError:
        known = ", ".join(Why)
        raise MessageError("reason", f"{reason!r} is not a reason of a suppression", f"Give one of {known}.") from None
