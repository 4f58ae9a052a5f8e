"""The application's hooks that a worker calls before it sends a message (`mail.before_send`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from flask import Flask

from outbox.core.errors import ConfigurationError
from outbox.core.events import first_line
from outbox.delivery.before_send import Cancel, Hold, Outgoing, ended_by, unanswered
from outbox.delivery.retry import Decision, Reason

SendHook = Callable[[Outgoing], Hold | Cancel | None]
S = TypeVar("S", bound=SendHook)


@dataclass(frozen=True, slots=True)
class _Registered:
    function: SendHook
    name: str
    kinds: frozenset[str]  # none: all


class SendHooks:
    """Those of one `Outbox`, in the order in which they are called."""

    def __init__(self) -> None:
        self._all: list[_Registered] = []

    def register(self, function: S, kind: str | Iterable[str] | None) -> S:
        """Raises ConfigurationError."""
        name = getattr(function, "__qualname__", repr(function))
        if inspect.iscoroutinefunction(function):
            problem = "is a coroutine function; workers run threads. Write it with `def`."
            raise ConfigurationError([f"the before_send hook {name} {problem}"])
        kinds = (kind,) if isinstance(kind, str) else tuple(kind or ())
        self._all.append(_Registered(function, name, frozenset(kinds)))
        return function

    def __bool__(self) -> bool:
        return bool(self._all)

    def wants(self, kind: str | None) -> bool:
        """Whether one of them is to be asked about mail of this kind."""
        return bool(self._all) and any(not one.kinds or kind in one.kinds for one in self._all)

    def ask(self, app: Flask, outgoing: Outgoing, delay: float) -> Decision | None:
        """The first answer that is not None, else None. One that raises: asked again after `delay` seconds."""
        with app.app_context():
            for one in self._all:
                if one.kinds and outgoing.kind not in one.kinds:
                    continue
                try:
                    decision = ended_by(one.function(outgoing), one.name)
                except Exception as error:  # noqa: BLE001 - what it would have said is not known
                    note = f"{one.name} failed: {type(error).__name__}: {first_line(error)}"
                    return unanswered(Reason.HOOK, note, delay)
                if decision is not None:
                    return decision
        return None
