"""What one address is subscribed to, read and set by the application's own code, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from outbox.core.errors import MessageError
from outbox.delivery.preferences import EVERYTHING
from outbox.delivery.suppression import Why
from outbox.extension.after_commit import after_commit
from outbox.extension.kinds import Kind
from outbox.extension.state import Bound
from outbox.extension.subscription import is_subscription
from outbox.message.addresses import mailbox_of
from outbox.settings.kinds import Policy
from outbox.store.enqueue import write_connection
from outbox.store.transactions import writing_mail

if TYPE_CHECKING:  # most requests have no use for it
    from outbox.operations.unsubscribing import Lists, Subscriber

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One list, and whether an address is subscribed to it."""

    kind: str
    """The name of the kind."""
    title: str
    """As it was given to `mail.kind`, or else the name."""
    on: bool
    """Nobody has unsubscribed the address from it."""
    held: str | None
    """What else keeps its mail from the address: `"bounced"`, `"complained"` or `"manual"`; None: nothing."""


class Subscribing:
    """What an `Outbox` has of subscriptions."""

    _bound: Callable[[], Bound]

    def subscriptions(self, address: str, session: Any = None) -> list[Subscription]:
        """All kinds of the category `subscription`, by name, and whether `address` is subscribed to each.

        As the caller's transaction sees it. Raises MessageError for an invalid address.
        """
        bound = self._bound()
        named = {one.name: one for one in lists(bound)}
        found = self._with(address, session, lambda subscriber: subscriber.preferences())
        return [Subscription(one.kind, named[one.kind].label, one.on, _word(one.held)) for one in found.of]

    def subscribe(self, address: str, kind: Kind | str, session: Any = None) -> bool:
        """Let `address` get mail of this kind again, in the caller's transaction. Whether that changes something.

        It takes back that somebody unsubscribed it, and nothing else: an address that bounced stays suppressed. One
        that had left all lists at once stays unsubscribed from the others. Raises MessageError for an invalid address,
        and for what is not a kind of the category `subscription`.
        """
        scope = self._scope(kind)
        return self._with(address, session, lambda subscriber: subscriber.subscribe(scope))

    def unsubscribe(self, address: str, kind: Kind | str | None = None, session: Any = None) -> bool:
        """Send `address` nothing of this kind any more, in the caller's transaction. Whether that changes something.

        Without `kind`: from all lists, also from those to come. It is recorded as an event of the source
        `application`, of which handlers (`mail.on("unsubscribed")`) are told, and after the commit the signal
        `event_recorded`. Raises what `subscribe` raises.
        """
        scope = EVERYTHING if kind is None else self._scope(kind)
        return self._with(address, session, lambda subscriber: subscriber.unsubscribe(scope)) is not None

    def _scope(self, kind: Kind | str) -> str:
        name = kind.name if isinstance(kind, Kind) else kind
        known = [one.name for one in lists(self._bound())]
        if name not in known:
            listed = f"Defined are {', '.join(known)}" if known else "None is defined"
            problem = f"is {name!r}, not a kind of the category subscription"
            raise MessageError("kind", problem, f"{listed}: mail.kind({name!r}, category='subscription').")
        return f"kind:{name}"

    def _with(self, address: str, session: Any, do: Callable[[Subscriber], T]) -> T:
        from outbox.operations.unsubscribing import APPLICATION, Subscriber

        bound = self._bound()
        envelope = mailbox_of(address, "address").envelope
        with bound.writing(session) as (current, _):
            connection = write_connection(current)
            subscriber = Subscriber(connection, envelope, listed(bound), APPLICATION)
            with writing_mail(connection):
                done = do(subscriber)
            if subscriber.recorded:
                after_commit(current, lambda: bound.listening.recorded(subscriber.recorded))
            return done


def lists(bound: Bound) -> list[Policy]:
    """The kinds of the category `subscription`, by name."""
    return [one for one in bound.kinds if is_subscription(one)]


def listed(bound: Bound) -> Lists:
    """The same, for `operations.unsubscribing`."""
    from outbox.operations.unsubscribing import Lists

    settings = bound.settings
    names = tuple(one.name for one in lists(bound))
    return Lists(names, settings.environment, settings.address_digest_key, bound.listening)


def _word(held: Why | None) -> str | None:
    return None if held is None else held.value
