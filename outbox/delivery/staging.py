"""Whom a worker outside of production may write to. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowed:
    """The recipients that may get mail, all in lower case; everybody else waits."""

    addresses: frozenset[str]
    domains: frozenset[str]
    patterns: frozenset[str] = frozenset()
    """With `*` for any text: of whole addresses where they have an @, of domains where they have none."""

    def __contains__(self, recipient: str) -> bool:
        address = recipient.lower()
        domain = address.rpartition("@")[2]
        if address in self.addresses or domain in self.domains:
            return True
        return any(fits(one, address if "@" in one else domain) for one in self.patterns)

    def __str__(self) -> str:
        return " ".join(sorted(self.addresses | self.domains | self.patterns))

    def has_some_of(self, domain: str) -> bool:
        """Whether an address in the domain is among them, or may be by a pattern."""
        domain = domain.lower()
        if any(address.endswith(f"@{domain}") for address in self.addresses):
            return True
        return any(fits(one.rpartition("@")[2], domain) for one in self.patterns if "@" in one)


def fits(pattern: str, text: str) -> bool:
    """Whether `text` is what `pattern` says, in which `*` stands for any text, none included."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
