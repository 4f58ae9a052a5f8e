"""SPF (RFC 7208): a domain's record, what is wrong with it, and whether it names an address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from outbox.cli.dns.lookup import Lookup

MOST_LOOKUPS = 10  # RFC 7208 §4.6.4
_TERM = re.compile(r"([+?~-]?)([a-z][a-z0-9._-]*)(?:([:=])(.*?))?(?:/(\d+))?(?://(\d+))?", re.IGNORECASE)
_NAMED = frozenset({"include", "redirect", "exists", "ip4", "ip6"})
_KNOWN = frozenset({"all", "a", "mx", "ptr", *_NAMED})
_NETWORK = {"ip4": ipaddress.IPv4Network, "ip6": ipaddress.IPv6Network}
_ASKING = frozenset({"include", "redirect", "exists", "a", "mx", "ptr"})


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class SpfError(Exception):
    """The record is of no use to receivers (permerror); the text says why."""


class Spf:
    """The record of one domain, with those that it includes."""

    def __init__(self, lookup: Lookup, domain: str) -> None:
        self._lookup = lookup
        self.domain = domain
        self.lookups = 0
        self.names: list[str] = []  # what it includes, and what that includes

    def record(self) -> str | None:
        """Its own record; None: there is none. Raises SpfError, Unanswered."""
        return self._record(self.domain)

    def permits(self, address: str | None) -> str:
        """What it says of mail from `address`: "+", "-", "~", "?", or "" where it says nothing.

        None is an address that nothing names, so that all of the record is read. Raises SpfError, Unanswered.
        """
        self.lookups, self.names = 0, []
        return self._evaluated(self.domain, None if address is None else ipaddress.ip_address(address))

    def _record(self, domain: str) -> str | None:
        found = [text for text in self._lookup.texts(domain) if re.match(r"v=spf1(?:\s|$)", text, re.IGNORECASE)]
        if len(found) > 1:
            raise SpfError(f"{domain} has {len(found)} SPF records, so that none counts. Make one of them")
        return found[0] if found else None

    def _evaluated(self, domain: str, address: Address | None) -> str:
        record = self._record(domain)
        if record is None:
            if domain != self.domain:
                raise SpfError(f"the SPF record of {self.domain} refers to {domain}, which has none")
            return ""
        redirect = None
        for qualifier, name, value, prefixes in _terms(record, domain):
            if name in _ASKING:
                self._count()
            if name == "all":
                return qualifier
            if name == "redirect":
                redirect = value
            elif name == "include":
                self.names.append(value.lower())
                if "%" not in value and self._evaluated(value, address) == "+":
                    return qualifier
            elif address is not None and self._matches(name, value or domain, prefixes, address):
                return qualifier
        if redirect is not None and "%" not in redirect:
            self.names.append(redirect.lower())
            return self._evaluated(redirect, address)
        return ""

    def _matches(self, name: str, value: str, prefixes: tuple[str, str], address: Address) -> bool:
        prefix = prefixes[1] if address.version == 6 and name in {"a", "mx"} else prefixes[0]
        if name in {"ip4", "ip6"}:
            found = [value]
        elif "%" in value or name not in {"a", "mx"}:
            return False  # depends on each message
        elif name == "a":
            found = self._lookup.addresses(value)
        else:
            found = [one for _, host in self._lookup.exchanges(value) if host for one in self._lookup.addresses(host)]
        networks = (ipaddress.ip_network(f"{one}/{prefix}" if prefix else one, strict=False) for one in found)
        return any(address.version == one.version and address in one for one in networks)

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > MOST_LOOKUPS:
            raise SpfError(
                f"the SPF record of {self.domain} needs more than {MOST_LOOKUPS} look-ups, so that none of it counts. "
                "Take out what is not used any more, or put addresses (ip4:…) in place of includes"
            )


def _terms(record: str, domain: str) -> Iterator[tuple[str, str, str, tuple[str, str]]]:
    """Qualifier, name, value, and prefix lengths for IPv4 and IPv6, of each. Raises SpfError."""
    for word in record.split()[1:]:
        found = _TERM.fullmatch(word)
        name, value = (found[2].lower(), found[4] or "") if found else ("", "")
        if found is not None and name not in _KNOWN and found[3] == "=":
            continue  # exp=, and what is yet to come
        if found is None or name not in _KNOWN or (name in _NAMED and not value):
            raise _invalid(word, domain)
        if name in _NETWORK:
            try:
                _NETWORK[name](f"{value}/{found[5]}" if found[5] else value, strict=False)
            except ValueError:
                raise _invalid(word, domain)
        yield found[1] or "+", name, value, (found[5] or "", found[6] or "")


def _invalid(word: str, domain: str) -> SpfError:
    return SpfError(f"the SPF record of {domain} has {word!r}, which is invalid, so that none of it counts")
