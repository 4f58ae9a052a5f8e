"""By which transports a delivery may go: rules at enqueue, the first that can be used at the claim. Pure.

A route is a text: the names of transports in the order of preference, separated by blanks. The empty route stands for
all transports in the order of the settings, whatever that is at the claim.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from outbox.delivery.states import Lane

EVERY = ""
"""The route of what no rule fits."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What fits goes by these transports."""

    transports: tuple[tuple[str, float | None], ...]
    """(name, weight): the first is drawn by weight, the others follow, the heaviest first. Without: in their order."""
    kind: str | None = None  # patterns as in a shell, in lower case; None: whatever it is
    sender_domain: str | None = None  # of the envelope
    recipient_domain: str | None = None
    priority: Lane | None = None

    def fits(self, kind: str | None, sender_domain: str, recipient_domain: str, priority: Lane) -> bool:
        """Whether a delivery goes by this rule."""
        return (
            (self.priority is None or self.priority is priority)
            and _is_like(kind or "", self.kind)
            and _is_like(sender_domain, self.sender_domain)
            and _is_like(recipient_domain, self.recipient_domain)
        )

    def route(self, chance: float) -> str:
        """`chance`: random, 0 ≤ chance < 1."""
        names = [name for name, _ in self.transports]
        weights = [weight for _, weight in self.transports if weight is not None]
        if len(weights) < len(names):
            return " ".join(names)
        left = chance * sum(weights)
        for name, weight in zip(names, weights, strict=True):
            left -= weight
            if left < 0:
                return self._beginning_with(name)
        return self._beginning_with(names[-1])

    @property
    def routes(self) -> Iterable[str]:
        """All that `route` may say."""
        if any(weight is None for _, weight in self.transports):
            return [self.route(0.0)]
        return [self._beginning_with(name) for name, weight in self.transports if weight]

    def _beginning_with(self, first: str) -> str:
        others = [(name, weight) for name, weight in self.transports if name != first]
        others.sort(key=lambda one: -(one[1] or 0))
        return " ".join([first, *(name for name, _ in others)])


@dataclass(frozen=True, slots=True)
class Refused:
    """What one transport refuses while it takes other mail."""

    senders: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Served:
    """What one transport is to carry now."""

    transport: str
    routes: frozenset[str]
    for_others: tuple[tuple[str, Refused], ...] = ()
    """(route, what of it): refused by the transport that would carry it."""

    def carries(self, route: str, sender: str, domain: str) -> bool:
        """Whether a delivery that may go by any transport of its route goes by this one."""
        return route in self.routes or any(
            route == other and (sender in refused.senders or domain in refused.domains)
            for other, refused in self.for_others
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """The transports of one application, and the rules by which they are chosen."""

    order: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    known: frozenset[str] = field(init=False)
    """The routes that these settings lead to, pinned ones included."""

    def __post_init__(self) -> None:
        known = {EVERY, *self.order, *(route for rule in self.rules for route in rule.routes)}
        object.__setattr__(self, "known", frozenset(known))

    def route(self, kind: str | None, sender: str, recipient_domain: str, priority: Lane, chance: float) -> str:
        """The route of a new delivery: by the first rule that fits."""
        sender_domain = sender.rpartition("@")[2].lower()
        for rule in self.rules:
            if rule.fits(kind, sender_domain, recipient_domain.lower(), priority):
                return rule.route(chance)
        return EVERY

    def names(self, route: str) -> tuple[str, ...]:
        """The transports of a route that there are."""
        if route == EVERY:
            return self.order
        return tuple(name for name in route.split(" ") if name in self.order)

    def served(
        self, available: Collection[str], refused: Mapping[str, Refused], routes: Iterable[str]
    ) -> dict[str, Served]:
        """What each transport carries of these routes.

        The first of a route that is `available` carries it; one that is not keeps it as well, for its probes. What a
        transport refuses goes to the next.
        """
        carried: dict[str, set[str]] = {name: set() for name in self.order}
        others: dict[str, list[tuple[str, Refused]]] = {name: [] for name in self.order}
        for route in sorted(routes):
            names = self.names(route)
            usable = [name for name in names if name in available]
            for name in names:
                if name not in available or name == usable[0]:
                    carried[name].add(route)
            left: Refused | None = None
            for name in usable:
                if left is not None:
                    others[name].append((route, left))
                own = refused.get(name, Refused())
                left = own if left is None else Refused(left.senders & own.senders, left.domains & own.domains)
                if not left.senders and not left.domains:
                    break
        return {name: Served(name, frozenset(carried[name]), tuple(others[name])) for name in self.order}


def covers(rule: Rule, later: Rule) -> bool:
    """Whether all that fits `later` fits `rule` as well, so that nothing gets to `later`. In doubt it says no."""
    return (
        rule.priority in {None, later.priority}
        and includes(rule.kind, later.kind)
        and includes(rule.sender_domain, later.sender_domain)
        and includes(rule.recipient_domain, later.recipient_domain)
    )


def includes(pattern: str | None, other: str | None) -> bool:
    """Whether a pattern fits all that another one fits."""
    if pattern is None or pattern == other:
        return True
    if other is None:
        return pattern == "*"
    if set(pattern) & set("?[") and set(other) & set("*?["):
        return False
    return fnmatchcase(other, pattern)


def _is_like(value: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(value, pattern)
