"""Addresses and names that look like a slip: gmial.com, "None", a placeholder that nobody filled in."""

from __future__ import annotations

import re

_LONG = (
    "gmail.com googlemail.com outlook.com outlook.de hotmail.com hotmail.co.uk hotmail.de hotmail.fr yahoo.com"  # noqa: SIM905
    " yahoo.co.uk yahoo.de yahoo.fr icloud.com t-online.de freenet.de protonmail.com orange.fr laposte.net libero.it"
    " virgilio.it comcast.net verizon.net btinternet.com fastmail.com".split()
)
"""Providers with names so long that another name one slip away is hardly a domain of its own."""
_REAL = frozenset({"email.com", "ymail.com", "mail.com", "hotmail.ca", "hotmail.be", "hotmail.es", "hotmail.it"}).union(
    f"yahoo.{end}" for end in ("ca", "es", "it", "in", "se", "dk", "gr", "ie", "pl", "ro")
)
_ENDINGS = {
    "con": "com",
    "cmo": "com",
    "ocm": "com",
    "comm": "com",
    "vom": "com",
    "xom": "com",
    "nte": "net",
    "ogr": "org",
}
_EMPTY = frozenset({"none", "null", "undefined", "nan", "false", "anonymoususer"})
_PLACEHOLDER = re.compile(
    r"\{\{.{0,200}?\}\}|\{%.{0,200}?%\}|%\(\w{1,50}\)[sd]|\$\{\w{1,50}\}"
    r"|<built-in |<function |<bound method |\bobject at 0x"
)


def meant(domain: str) -> str | None:
    """The domain that `domain` is probably a slip of; None where it looks right."""
    domain = domain.lower()
    if domain in _LONG or domain in _REAL:
        return None
    name, _, ending = domain.rpartition(".")
    if ending in _ENDINGS and name:
        return f"{name}.{_ENDINGS[ending]}"
    return next((known for known in _LONG if _one_slip(domain, known)), None)


def empty_name(name: str) -> bool:
    """Whether a person's name is what code makes of nothing."""
    return name.strip().lower() in _EMPTY


def placeholder(text: str) -> str | None:
    """The first thing in `text` that looks as if a template had not been rendered."""
    found = _PLACEHOLDER.search(text)
    return found[0][:60] if found else None


def _one_slip(a: str, b: str) -> bool:
    """Whether one letter is missing, doubled, wrong, or two are swapped."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    rest_a, rest_b = a[start:], b[start:]
    return (
        rest_a[1:] == rest_b
        or rest_a == rest_b[1:]
        or rest_a[1:] == rest_b[1:]
        or (rest_a[:2] == rest_b[:2][::-1] and rest_a[2:] == rest_b[2:])
    )
