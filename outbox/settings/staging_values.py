"""The forms of the settings that keep mail of a staging machine from people: blank ones are faults, not unset."""

from __future__ import annotations

import re
from typing import Any

from outbox.core.errors import MessageError
from outbox.delivery.staging import Allowed
from outbox.message.addresses import mailbox_of
from outbox.settings.shown import shown
from outbox.settings.values import Form

_DOMAIN = re.compile(r"@?((?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)", re.IGNORECASE)
_PATTERN = re.compile(r"(?:[a-z0-9.!#$%&'/=?^_`{|}~*+-]+@)?[a-z0-9_*][a-z0-9_.*-]*", re.IGNORECASE)
_LEAVE_OUT = "Leave it out if mail is to go to its recipients"


def _parse_address(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"is {shown(raw)}, not an address such as staging@example.org. {_LEAVE_OUT}")
    return _address(raw.strip())


def _parse_allowed(raw: Any) -> Allowed:
    words = raw.split() if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple | set | frozenset) or not words:
        raise ValueError(
            f"is {shown(raw)}, not addresses and domains with blanks between, such as ann@example.org example.net. "
            f"{_LEAVE_OUT}"
        )
    addresses, domains, patterns = set(), set(), set()
    for word in words:
        if isinstance(word, str) and (domain := _DOMAIN.fullmatch(word)):
            domains.add(domain[1].lower())
        elif isinstance(word, str) and "*" in word:
            patterns.add(_pattern(word))
        else:
            addresses.add(_address(word).lower())
    return Allowed(frozenset(addresses), frozenset(domains), frozenset(patterns))


def _pattern(word: str) -> str:
    """Raises ValueError for an invalid one, and for one that everybody fits."""
    pattern = word.lower().removeprefix("@")
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            f"holds {shown(word)}, which is not a pattern. Write * for any text, as in *.example.org or "
            "qa-*@example.org"
        )
    if not any(character.isalnum() for character in pattern):
        raise ValueError(f"holds {shown(word)}, which everybody fits. {_LEAVE_OUT}")
    return pattern


def _address(given: Any) -> str:
    try:
        return mailbox_of(given, "address").address
    except MessageError as error:
        raise ValueError(f"holds {shown(given)}, which {error.problem}. {error.remedy}".rstrip(".")) from None


def _parse_copy(raw: Any) -> str:
    address = _address(raw.strip() if isinstance(raw, str) else raw)
    if not address.isascii():
        raise ValueError(f"is {shown(raw)}, which is not in ASCII: every relay must be able to carry the copy")
    return address


COPY = Form("an address", _parse_copy)
ADDRESS = Form("an address", _parse_address, blank=True)
ALLOWED = Form("addresses, domains and patterns, separated by blanks", _parse_allowed, blank=True)
