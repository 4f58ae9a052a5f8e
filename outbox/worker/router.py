"""Which of several transports carries what now, by what their workers' threads find out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from outbox.core.events import Event, EventName
from outbox.delivery.routes import Refused, Routes, Served
from outbox.store.held import Held
from outbox.worker.prefetch import PrefetchBuffer


class Sender(Protocol):
    """What is asked of the threads of one transport."""

    @property
    def buffer(self) -> PrefetchBuffer: ...

    @property
    def held(self) -> Held: ...

    def nudge(self, *, again: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the choice rests on."""

    available: frozenset[str]
    refused: tuple[tuple[str, Refused], ...]
    routes: frozenset[str]


class Router:
    """One worker's. Thread-safe: what is read here is replaced as a whole."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._senders: Mapping[str, Sender] = {}
        self._found: tuple[_Seen, dict[str, Served]] | None = None
        self._others: frozenset[str] = frozenset()

    def begin(self, senders: Mapping[str, Sender]) -> None:
        """Choose between these from now on, by name."""
        self._senders = senders

    def know(self, routes: frozenset[str]) -> None:
        """Serve these routes, too, which other settings have written."""
        self._others = routes - self._routes.known

    @property
    def known(self) -> frozenset[str]:
        """The routes that are served."""
        return self._routes.known | self._others

    @property
    def unserved(self) -> frozenset[str]:
        """Those of them that lead to no transport of these settings."""
        return frozenset(route for route in self._others if not self._routes.names(route))

    def stuck(self, down: Collection[str]) -> frozenset[str]:
        """Those of them whose transports are all out of use, or not there."""
        return frozenset(route for route in self.known if set(self._routes.names(route)) <= set(down))

    def served(self, name: str) -> Served:
        """What the transport `name` is to carry now."""
        seen = self._look()
        if self._found is None or self._found[0] != seen:
            self._found = seen, self._routes.served(seen.available, dict(seen.refused), seen.routes)
        return self._found[1][name]

    def gives_way(self, name: str) -> bool:
        """Whether another that is preferred wants the next message, to find out whether it is up again."""
        before = itertools.takewhile(lambda other: other != name, self._senders)
        return any(_awaits_probe(self._senders[other].buffer) for other in before)

    def elsewhere(self, name: str, route: str) -> bool:
        """Whether another transport than `name` can carry what goes by this route."""
        return any(other != name and self._is_available(other) for other in self._routes.names(route))

    def observe(self, event: Event) -> None:
        """What one transport can't carry, or can carry again, is the others' business at once."""
        if event.name in {EventName.TRANSPORT_DOWN, EventName.TRANSPORT_UP}:
            for sender in self._senders.values():
                sender.nudge()
        elif event.name is EventName.RELEASED:
            released_by = self._senders.get(event.facts.get("relay", ""))
            if released_by is not None and released_by.buffer.is_down:  # what was its probe may go by another
                for sender in self._senders.values():
                    if sender is not released_by:
                        sender.nudge(again=True)

    def _look(self) -> _Seen:
        held = {name: sender.held for name, sender in self._senders.items()}
        return _Seen(
            frozenset(name for name in self._senders if self._is_available(name)),
            tuple((name, Refused(one.refused_senders, one.refused_domains)) for name, one in held.items()),
            self.known,
        )

    def _is_available(self, name: str) -> bool:
        sender = self._senders[name]
        return not sender.buffer.is_down and not sender.held.everything


def _awaits_probe(buffer: PrefetchBuffer) -> bool:
    return buffer.is_down and buffer.room(1) > 0


class Share:
    """What of the mail one transport is to carry: of itself all of it."""

    def __init__(self, router: Router | None = None, transport: str = "") -> None:
        """`router`: chooses between several transports, of which this is one."""
        self._router = router
        self._transport = transport

    @property
    def of_thread(self) -> str:
        """What goes into the names of threads: which transport they work for, where there are several."""
        return "" if self._router is None else f"-{self._transport}"

    @property
    def served(self) -> Served | None:
        """What it carries now; None: all."""
        return None if self._router is None else self._router.served(self._transport)

    @property
    def gives_way(self) -> bool:
        """Whether another wants the next message first, which is a probe."""
        return self._router is not None and self._router.gives_way(self._transport)

    def is_carried_elsewhere(self, route: str) -> bool:
        """Whether another transport can carry what goes by this route."""
        return self._router is not None and self._router.elsewhere(self._transport, route)
