"""Which domains mail comes from, by which transports: from the settings, the kinds and the command line."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from outbox.cli.dns.check import Author
from outbox.core.errors import MessageError
from outbox.message.addresses import mailbox_of
from outbox.settings import Settings
from outbox.settings.kinds import Policy
from outbox.settings.relay import Relay


def authors(senders: Iterable[str], kinds: Iterable[Policy], settings: Settings) -> list[Author]:
    """Each domain once, with its transports in the order of preference.

    `senders`: addresses that all transports may send for; a kind with a transport of its own goes by that one alone.
    """
    wanted: dict[str, set[str]] = {}
    every = {relay.name for relay in settings.transports}
    for sender in senders:
        wanted.setdefault(_domain(sender), set()).update(every)
    for kind in kinds:
        if kind.sender is None:
            continue
        try:
            domain = _domain(mailbox_of(kind.sender, "sender").envelope)
        except MessageError:
            continue  # an address without a domain
        wanted.setdefault(domain, set()).update(every if kind.transport is None else {kind.transport})
    return [Author(domain, _named(settings.transports, names)) for domain, names in wanted.items() if domain]


def resolver(text: str) -> tuple[str, int]:
    """The address and port of a resolver. Raises ValueError."""
    try:
        return str(ipaddress.ip_address(text.strip("[]"))), 53
    except ValueError:
        host, colon, port = text.rpartition(":")
        if not (colon and port.isdigit() and int(port) < 65536):
            raise ValueError(
                f"{text!r} is not an IP address, such as 9.9.9.9, or one with a port: 127.0.0.1:5353"
            ) from None
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)


def _named(relays: tuple[Relay, ...], names: set[str]) -> tuple[Relay, ...]:
    return tuple(relay for relay in relays if relay.name in names)


def _domain(address: str) -> str:
    domain = address.rpartition("@")[2].lower().rstrip(".")
    if domain.isascii():
        return domain
    import idna  # not at the top: most names are ASCII

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        return ""
