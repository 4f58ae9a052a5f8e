"""Whom a worker outside of production may write to. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowed:
    """The recipients that may get mail, all in lower case; everybody else waits."""

    addresses: frozenset[str]
    domains: frozenset[str]

    def __contains__(self, recipient: str) -> bool:
        address = recipient.lower()
        return address in self.addresses or address.rpartition("@")[2] in self.domains

    def __str__(self) -> str:
        return " ".join(sorted(self.addresses | self.domains))

    def has_some_of(self, domain: str) -> bool:
        """Whether an address in the domain is among them."""
        return any(address.endswith(f"@{domain.lower()}") for address in self.addresses)
