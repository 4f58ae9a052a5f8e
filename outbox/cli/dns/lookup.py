"""Asks the DNS, with limits, and each question once. `dnspython`, an extra, is imported here alone."""

from __future__ import annotations

from typing import Any

SECONDS = 5.0  # for one answer
HURRIED_SECONDS = 1.0  # once one did not come

MISSING = "--dns needs the package dnspython, which is not installed. Run `pip install 'flask-outbox[check]'`"


class Unanswered(Exception):
    """There is no answer, not even that there is no such name; the text says why."""


class Lookup:
    """One resolver: the system's, or the `server` (address, port). Raises ImportError without dnspython."""

    def __init__(self, server: tuple[str, int] | None = None, seconds: float = SECONDS) -> None:
        import dns.resolver

        self._seconds = seconds
        self._known: dict[tuple[str, str], list[Any] | Unanswered] = {}
        self._resolver: dns.resolver.Resolver | None = None
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration:
            return  # every question says so
        self._resolver.use_edns(0, 0, 1232)  # a record with a key of 4,096 bits needs more than 512 bytes
        if server is not None:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]

    def texts(self, name: str) -> list[str]:
        """The TXT records at `name`, the strings of each put together. Raises Unanswered."""
        return [b"".join(one.strings).decode("utf-8", "replace") for one in self._ask(name, "TXT")]

    def exchanges(self, name: str) -> list[tuple[int, str]]:
        """The MX records at `name`: preference and host ("" is the null MX, RFC 7505). Raises Unanswered."""
        return sorted((one.preference, one.exchange.to_text(True).rstrip(".")) for one in self._ask(name, "MX"))

    def addresses(self, name: str) -> list[str]:
        """All IP addresses of `name`. Raises Unanswered."""
        return [one.address for kind in ("A", "AAAA") for one in self._ask(name, kind)]

    def _ask(self, name: str, kind: str) -> list[Any]:
        asked = (name.lower().rstrip("."), kind)
        if asked not in self._known:
            self._known[asked] = self._answer(*asked)
        found = self._known[asked]
        if isinstance(found, Unanswered):
            raise found
        return found

    def _answer(self, name: str, kind: str) -> list[Any] | Unanswered:
        import dns.exception
        import dns.resolver

        if self._resolver is None:
            return Unanswered(f"{name} can't be looked up: this machine has no resolver configured")
        try:
            return list(self._resolver.resolve(f"{name}.", kind, search=False, lifetime=self._seconds))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.Timeout:
            self._seconds = min(self._seconds, HURRIED_SECONDS)
            return Unanswered(f"the question for {kind} of {name} was not answered in time")
        except dns.resolver.NoNameservers:
            return Unanswered(f"the question for {kind} of {name} was refused, or its servers are broken (SERVFAIL)")
        except dns.exception.DNSException as error:
            return Unanswered(f"{name} can't be looked up: {type(error).__name__}")
