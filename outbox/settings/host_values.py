"""The forms of settings that name a machine."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from outbox.settings.shown import shown
from outbox.settings.values import Form, text

_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]+):(\d+)")


LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""The usual names of this machine in a URL."""


def is_this_machine(name: str) -> bool:
    """Whether it is `localhost`, of 127.0.0.0/8, or `::1`: what is sent there never leaves it."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def host(port: str | None) -> Form:
    """A host name or address. `port`: the setting that the port belongs in."""

    def parse(raw: Any) -> str:
        if not isinstance(raw, str):
            raise ValueError(f"is {shown(raw)}, not a text")
        name = str(text().parse(raw))
        if "://" in name:
            raise ValueError(f"is {_url_shown(name)}, a URL: give the host name alone{_port_goes_to(port)}")
        found = _HOST_AND_PORT.fullmatch(name)
        if found is not None:
            place = f"put the port in {port}: {found[1]} and {port}={found[2]}" if port else f"leave :{found[2]} out"
            raise ValueError(f"is {shown(raw)}, a host name and a port: {place}")
        if any(character.isspace() or character in "/@,;" for character in name) or not _may_be_a_host(name):
            several = (
                ": several relays go in OUTBOX_TRANSPORTS" if port == "MAIL_PORT" and re.search("[,;]", name) else ""
            )
            raise ValueError(f"is {shown(raw)}, not the name or address of a machine{several}")
        return name

    return Form("a host name or address", parse)


def _may_be_a_host(name: str) -> bool:
    if ":" not in name:
        return bool(name.strip("."))
    try:
        return bool(ipaddress.IPv6Address(name.removeprefix("[").removesuffix("]").partition("%")[0]))
    except ValueError:
        return False


def _port_goes_to(port: str | None) -> str:
    return f" (and the port in {port})" if port else ""


def _url_shown(name: str) -> str:
    """A URL without the user and password that it may hold."""
    scheme, _, rest = name.partition("://")
    return shown(f"{scheme}://{rest.rpartition('@')[2]}")


def _parse_ehlo_name(raw: Any) -> str:
    name = str(host(None).parse(raw))
    if name.isascii():
        return name
    import idna  # not at the top: most names are ASCII

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        raise ValueError(f"is {shown(raw)}, not a host name: its letters are not allowed in one") from None


EHLO_NAME = Form("a host name or address", _parse_ehlo_name)
