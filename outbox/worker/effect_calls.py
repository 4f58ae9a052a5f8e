"""One call of a handler or a webhook, which another thread may give up: then nothing of it is ever committed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outbox.core.clock import monotonic, utcnow
from outbox.core.events import first_line
from outbox.delivery.happened import Happened, MailEvent
from outbox.settings.outgoing_webhooks import Webhook
from outbox.smtp.http import webhooks
from outbox.store.databases import of
from outbox.store.deadline import cut
from outbox.store.effect_queue import done
from outbox.store.failures import OUTAGES
from outbox.store.interruptible import interruptible
from outbox.store.leased_queue import Due
from outbox.store.reading import reading

_PURGED = "the message that it is about was purged"

if TYPE_CHECKING:
    import sqlalchemy as sa

    Handle = Callable[[str, sa.Connection, Happened], None]
    """Calls the handler of a name in the transaction of a connection."""
    Done = Callable[[sa.Connection, Due], bool]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a call came to nothing."""

    error: str
    wait: float = 0.0  # at least so many seconds until the next
    for_all: bool = False  # it would have failed whatever it was about
    disables: bool = False  # the receiver wants no more
    is_final: bool = False  # the next would fail as well


class Calls:
    """How this worker's handlers and webhooks are called."""

    def __init__(self, engine: sa.Engine, handle: Handle, called: dict[str, Webhook], done: Done = done) -> None:
        """`done`: removes what was done; False where it is not ours any more."""
        self._engine = engine
        self._handle = handle
        self._webhooks = called
        self._done = done

    def prepare(self, name: str, due: Due, seconds: float) -> Call:
        """One call, not made yet."""
        return Call(self._engine, self._handle, name, due, self._webhooks.get(name), seconds, self._done)


class Call:
    """Made in one thread; `abandon` comes from another."""

    def __init__(
        self,
        engine: sa.Engine,
        handle: Handle,
        name: str,
        due: Due,
        webhook: Webhook | None,
        seconds: float,
        done: Done,
    ) -> None:
        self.due = due
        self._engine = engine
        self._handle = handle
        self._name = name
        self._webhook = webhook
        self._seconds = seconds
        self._done = done
        self._lock = threading.Lock()
        self._abandoned = self._committing = False
        self._driver: Any = None

    def run(self) -> Failed | None:
        """Do it; None where it is done. Raises nothing."""
        event = self.due.event
        if event is None:
            return Failed(_PURGED, is_final=True)
        try:
            if self._webhook is not None and isinstance(event, MailEvent):
                return self._post(self._webhook, event)
            return self._in_transaction(event)
        except BaseException as error:  # noqa: BLE001 - a SystemExit of the application's, too
            return Failed(f"{type(error).__name__}: {first_line(error)}")

    def abandon(self) -> bool:
        """See that it can't be committed; False where that has begun."""
        with self._lock:
            self._abandoned = not self._committing
            return self._abandoned

    def cut(self) -> None:
        """Roll back what it has written, and let go of what that locks. Once it is abandoned."""
        with self._lock:
            driver = self._driver
        if driver is not None:
            cut(driver)

    def _post(self, webhook: Webhook, event: MailEvent) -> Failed | None:
        called = webhooks.call(webhook, event, self._seconds, monotonic=monotonic, now=utcnow())
        if called.error is not None:
            return Failed(called.error, called.wait, for_all=True, disables=called.is_gone)
        with self._engine.begin() as connection:
            done(connection, self.due)
        return None

    def _in_transaction(self, event: Happened) -> Failed | None:
        """Where nothing but the whole file can be locked, without that first: a slow handler must not hold it."""
        if not of(self._engine).one_writer:
            return self._handled(event, self._engine.connect())
        with reading(self._engine) as connection:
            try:
                return self._handled(event, connection)
            except OUTAGES:  # it read, then wrote what another had changed meanwhile; or the database is full
                with self._lock:
                    if self._abandoned:
                        raise
        return self._handled(event, self._engine.connect())

    def _handled(self, event: Happened, connection: sa.Connection) -> Failed | None:
        with connection:
            try:
                driver = connection.connection.dbapi_connection
                with interruptible(driver), connection.begin() as transaction:
                    self._check(driver=driver)
                    self._handle(self._name, connection, event)
                    self._check(commits=True)
                    if not self._done(connection, self.due):  # another has taken it
                        transaction.rollback()
            except BaseException:
                with self._lock:
                    self._committing, self._driver = False, None
                    if self._abandoned:
                        connection.invalidate()
                raise
        return None

    def _check(self, *, driver: Any = None, commits: bool = False) -> None:
        with self._lock:
            if self._abandoned:
                raise _Abandoned
            self._driver, self._committing = driver, commits


class _Abandoned(Exception):
    """It took too long, and returned after all."""
