"""What is asked about a claimed message before it goes to a connection: its guard, then the application's hooks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outbox.core.events import first_line
from outbox.delivery.before_send import GUARDED, Outgoing, unanswered
from outbox.delivery.retry import Decision, Reason, RetryPolicy
from outbox.extension.state import Bound
from outbox.settings import Settings
from outbox.store import guards
from outbox.store.claimed import Claimed
from outbox.store.deadline import cut
from outbox.store.engines import with_own_pool
from outbox.store.interruptible import interruptible
from outbox.store.messages import key_and_metadata
from outbox.store.reading import reading

if TYPE_CHECKING:
    import sqlalchemy as sa

    Ask = Callable[[Outgoing, float], Decision | None]

_CHANCE = 0.5


@dataclass(slots=True)
class Case:
    """One that is asked about; `cut` comes from another thread."""

    claimed: Claimed
    driver: Any = None  # what reads for it now

    def cut(self) -> None:
        """Give up what the database was asked."""
        if self.driver is not None:
            cut(self.driver)


class Checks:
    """Of one application. Thread-safe."""

    def __init__(
        self,
        engine: Callable[[], sa.Engine],
        wants: Callable[[str | None], bool],
        ask: Ask,
        policy: Callable[[str | None], RetryPolicy],
        seconds: float,
    ) -> None:
        """`engine`: with a pool of its own, made when it is first needed. `policy`: of a kind. `seconds`: that all of
        them may take."""
        self._made = functools.cache(engine)
        self._wants = wants
        self._ask = ask
        self._policy = policy
        self.seconds = seconds

    def concern(self, claimed: Claimed) -> bool:
        """Whether there is anything to ask about it."""
        return claimed.message.guard is not None or self._wants(claimed.message.kind)

    def ended(self, case: Case) -> Decision | None:
        """How it ends; None: it may be sent. Raises nothing."""
        claimed, reason = case.claimed, Reason.GUARD
        try:
            if claimed.message.guard is not None and not self._holds(case, claimed.message.guard):
                return GUARDED
            if not self._wants(claimed.message.kind):
                return None
            reason = Reason.HOOK
            return self._ask(self._outgoing(case), self._delay(claimed))
        except BaseException as error:  # noqa: BLE001 - a SystemExit of the application's, too
            note = f"{reason} can't be asked: {type(error).__name__}: {first_line(error)}"
            return unanswered(reason, note, self._delay(claimed))

    def late(self, claimed: Claimed) -> Decision:
        """It took too long, or others before it did."""
        note = f"no answer within {self.seconds:g} s (OUTBOX_HOOK_SECONDS)"
        reason = Reason.HOOK if self._wants(claimed.message.kind) else Reason.GUARD
        return unanswered(reason, note, self._delay(claimed))

    def _holds(self, case: Case, guard: dict[str, Any]) -> bool:
        with self._reading(case) as connection:
            return guards.holds(connection, guard)

    def _outgoing(self, case: Case) -> Outgoing:
        claimed, message = case.claimed, case.claimed.message
        with self._reading(case) as connection:
            key, metadata = key_and_metadata(connection, message.pk)
        return Outgoing(
            delivery_id=claimed.id,
            recipient=claimed.recipient,
            message_id=message.message_id,
            sender=message.envelope_from,
            kind=message.kind,
            key=key,
            metadata=metadata,
            created_at=message.created_at,
            attempts=claimed.attempts,
        )

    @contextmanager
    def _reading(self, case: Case) -> Iterator[sa.Connection]:
        """A connection to look with, that `Case.cut` ends."""
        with reading(self._made()) as connection:
            case.driver = connection.connection.dbapi_connection
            try:
                with interruptible(case.driver):
                    yield connection
            finally:
                case.driver = None

    def _delay(self, claimed: Claimed) -> float:
        return self._policy(claimed.message.kind).backoff(max(claimed.deferrals, claimed.rescues) + 1, _CHANCE)


def of_application(
    bound: Bound, settings: Settings, engine: sa.Engine, policy: Callable[[str | None], RetryPolicy]
) -> Checks:
    """By the hooks of an application."""
    hooks, app = bound.send_hooks, bound.app
    own = functools.partial(with_own_pool, engine)  # one that hangs keeps its connection
    return Checks(own, hooks.wants, functools.partial(hooks.ask, app), policy, settings.hook_seconds)
