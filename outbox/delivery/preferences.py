"""What one address is subscribed to, by the list of suppressions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from outbox.delivery.suppression import SUBSCRIPTION, Suppressed, Why, scopes_of

EVERYTHING = f"category:{SUBSCRIPTION}"
"""The scope of all lists, also of those to come."""


@dataclass(frozen=True, slots=True)
class Preference:
    """One list, and whether the address wants it."""

    kind: str
    on: bool
    """Nobody has unsubscribed the address from it."""
    held: Why | None = None
    """What else keeps its mail from the address: it bounced, somebody complained, an operator decided so."""

    @property
    def arrives(self) -> bool:
        """Whether its mail is sent to the address."""
        return self.on and self.held is None


@dataclass(frozen=True, slots=True)
class Preferences:
    """All lists of one address."""

    of: tuple[Preference, ...]
    all_off: bool
    """Unsubscribed from all at once: also from lists that don't exist yet."""

    def __getitem__(self, kind: str) -> Preference:
        return next(one for one in self.of if one.kind == kind)


def preferences(entries: Sequence[Suppressed], kinds: Iterable[str]) -> Preferences:
    """`entries`: those in force for the address. `kinds`: of the category `subscription`."""
    all_off = any(one.scope == EVERYTHING and one.reason is Why.UNSUBSCRIBED for one in entries)
    return Preferences(tuple(_preference(entries, kind) for kind in kinds), all_off)


def _preference(entries: Sequence[Suppressed], kind: str) -> Preference:
    scopes = scopes_of(kind, SUBSCRIPTION)
    reasons = [one.reason for one in entries if one.scope in scopes]
    held = next((one for one in reasons if one is not Why.UNSUBSCRIBED), None)
    return Preference(kind, Why.UNSUBSCRIBED not in reasons, held)
