"""The application's handlers of outcomes and events (`mail.on`), and how one of them is called.

A handler gets a session in a transaction that also removes the effect: what it writes and that it was called are
committed together.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox.core.errors import ConfigurationError
from outbox.delivery.happened import HANDLED, Happened, unknown_types
from outbox.extension import signals
from outbox.settings.outgoing_webhooks import PREFIX, Webhook

Handler = Callable[[Session, Any], object]
H = TypeVar("H", bound=Handler)

_NO_SESSION = (
    "there are handlers (mail.on), and init_app was given no session: where the application has its rows is not known, "
    "and what a handler writes must be committed together with the fact that it was called. Give the application's "
    "session: init_app(app, session=db.session)."
)
_LONGEST = 200  # characters of a name


@dataclass(frozen=True, slots=True)
class Registered:
    """One handler, and what it wants to be told of."""

    name: str
    function: Handler
    types: tuple[str, ...]
    kinds: tuple[str, ...]  # none: all

    def wants(self, type: str, kind: str | None) -> bool:
        """Whether it is called for what is of this type, about a message of this kind."""
        return type in self.types and (not self.kinds or kind in self.kinds)


class Handlers:
    """Those of one `Outbox`, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Registered] = {}

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Registered | None:
        """The one with this name."""
        return self._by_name.get(name)

    def register(self, function: H, types: Sequence[str], kind: str | Iterable[str] | None, name: str | None) -> H:
        """Raises ConfigurationError with all faults."""
        own = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
        faults = [f"there is no type {one!r}. There are {', '.join(HANDLED)}." for one in unknown_types(types, HANDLED)]
        if not types:
            faults.append(f"it names no type. There are {', '.join(HANDLED)}.")
        if inspect.iscoroutinefunction(function):
            faults.append("it is a coroutine function; its session is a sqlalchemy.orm.Session. Write it with `def`.")
        if name is None and "<lambda>" in own:
            faults.append("a lambda has no name by which its work can be found again. Give name=….")
        named = own if name is None else name
        if not named or len(named) > _LONGEST or not named.isprintable() or named.startswith(PREFIX):
            faults.append(f"its name is not a text of up to {_LONGEST} characters. Give another with name=….")
        if named in self._by_name:
            faults.append(
                "there is a handler of this name already. Register each once, at the top of its module; give one of "
                "two another name with name=…."
            )
        if faults:
            raise ConfigurationError([f"the handler {named!r}: {fault}" for fault in faults])
        kinds = (kind,) if isinstance(kind, str) else tuple(kind or ())
        self._by_name[named] = Registered(named, function, tuple(types), kinds)
        return function


class Listening:
    """The handlers and webhooks of one application: `store.effects.Listeners`."""

    def __init__(self, app: Flask, handlers: Handlers, webhooks: Sequence[Webhook]) -> None:
        self.handlers = handlers
        self.webhooks = {one.name: one for one in webhooks}
        self._app = weakref.ref(app)  # the engine has this, and may outlive the application
        self._known = -1
        self._found: dict[tuple[str, str | None], tuple[str, ...]] = {}

    @property
    def all(self) -> list[str]:
        """The names of all."""
        return [*(one.name for one in self.handlers), *self.webhooks]

    def check(self, has_session: bool) -> None:
        """Raises ConfigurationError where a handler's rows and its effect can't be committed together."""
        if len(self.handlers) and not has_session:
            raise ConfigurationError([_NO_SESSION])

    def recorded(self, events: Sequence[Any]) -> None:
        """As `Listeners.recorded`."""
        if (app := self._app()) is not None:
            signals.recorded(app, events)

    def handle(self, name: str, connection: sa.Connection, event: Happened) -> None:
        """Call the handler `name` in the transaction of `connection`, in a savepoint: its own commit is none.

        Raises what it raises.
        """
        registered = self.handlers.get(name)
        app = self._app()
        if registered is None or app is None:
            raise LookupError(f"there is no handler {name!r} any more")
        with app.app_context(), Session(connection, join_transaction_mode="create_savepoint") as session:
            registered.function(session, event)
            session.commit()

    def names(self, type: str, kind: str | None) -> Sequence[str]:
        """As `Listeners.names`."""
        if self._known != len(self.handlers):  # some were registered since
            self._known, self._found = len(self.handlers), {}
        found = self._found.get((type, kind))
        if found is None:
            wanting = [*self.handlers, *self.webhooks.values()]
            found = tuple(one.name for one in wanting if one.wants(type, kind))
            if len(self._found) < 10_000:  # an application may make up kinds without end
                self._found[(type, kind)] = found
        return found
