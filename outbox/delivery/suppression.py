"""Which addresses get no more mail, of which scope, and why: pure rules.

A hard bounce stops all mail for a while; a complaint and an unsubscription stop mail of their scope for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from outbox.delivery.reported import EventType

ALL = "all"
"""The scope of all mail."""

SECURITY, SUBSCRIPTION = "security", "subscription"
"""Two of `settings.kinds.Category`."""

_ALWAYS_WANTED = frozenset({SECURITY, "receipt"})  # nobody unsubscribes from these
_OF_CATEGORY = frozenset({"receipt", "notification", SUBSCRIPTION})

NO_SUCH_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
"""RFC 3463, RFC 7505: the mailbox or its domain does not exist, or never takes mail. Once is enough."""

DISABLED = frozenset({"5.2.1"})
"""The mailbox is disabled: perhaps for an hour, so it counts the second time within DISABLED_SECONDS.

Nothing of 5.7, 5.3 or 5.4 is here: those are about policy, the system and the way, not about the address.
"""

DISABLED_SECONDS = 86_400.0


class Why(StrEnum):
    """The reason of a suppression."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    MANUAL = "manual"  # a person said so


_PASSES = {SECURITY: frozenset({Why.BOUNCED, Why.COMPLAINED})}
"""By category, what does not stop it: a password reset is tried even so, since nobody else can be asked."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One entry of the list, about one address."""

    scope: str
    reason: Why
    since: datetime
    until: datetime | None = None  # None: without end

    def __str__(self) -> str:
        end = "" if self.until is None else f" until {self.until:%Y-%m-%d}"
        return f"the address is suppressed for {described(self.scope)}: {self.reason}, since {self.since:%Y-%m-%d}{end}"


@dataclass(frozen=True, slots=True)
class Follows:
    """What an event leads to."""

    scope: str
    reason: Why


def stopping(entries: Iterable[Suppressed], kind: str | None, category: str | None) -> Suppressed | None:
    """The entry that stops mail of this kind and category; None where it may be sent."""
    mine = scopes_of(kind, category)
    passes = _PASSES.get(category or "", frozenset())
    return next((one for one in entries if one.scope in mine and one.reason not in passes), None)


def scopes_of(kind: str | None, category: str | None) -> tuple[str, ...]:
    """The scopes that mail of this kind and category is in, the widest first."""
    return (
        ALL,
        *((f"category:{category}",) if category else ()),
        *((f"kind:{kind}",) if kind else ()),
    )


def following(type: EventType, enhanced: str | None, kind: str | None, category: str | None) -> Follows | None:
    """What a proven event about mail of this kind and category leads to; None: nothing.

    A bounce with a code of DISABLED leads to it only if it is the second; whoever calls this knows.
    """
    if type is EventType.BOUNCED and enhanced in NO_SUCH_ADDRESS | DISABLED:
        return Follows(ALL, Why.BOUNCED)
    if type is EventType.COMPLAINED:
        return Follows(f"category:{category}" if category in _OF_CATEGORY else ALL, Why.COMPLAINED)
    if type is EventType.UNSUBSCRIBED and category not in _ALWAYS_WANTED:
        return Follows(f"kind:{kind}" if kind else f"category:{SUBSCRIPTION}", Why.UNSUBSCRIBED)
    return None


def described(scope: str) -> str:
    """A scope for people: "all mail", "mail of the category subscription"."""
    what, _, value = scope.partition(":")
    return "all mail" if scope == ALL else f"mail of the {what} {value}"
