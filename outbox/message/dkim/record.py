"""What the DNS has of a key (RFC 6376 §3.6.1): the record at `selector._domainkey.domain`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from outbox.message.dkim.keys import DkimKey

STRING = 255
"""Bytes: one string of a TXT record; readers put several together without a space."""

_PARTS = re.compile(r"\s*;\s*")


def name_of(selector: str, domain: str | None) -> str:
    """Where the record is; below the domain where that is not known."""
    return f"{selector}._domainkey" + (f".{domain}" if domain else "")


def value_of(key: DkimKey) -> str:
    """The whole record."""
    return f"v=DKIM1; k={key.algorithm}; p={base64.b64encode(key.public).decode('ascii')}"


def strings_of(value: str) -> list[str]:
    """`value` cut into strings that a TXT record can hold."""
    return [value[at : at + STRING] for at in range(0, len(value), STRING)]


def zone_line(name: str, value: str) -> str:
    """The record as a zone file has it."""
    strings = [f'"{string}"' for string in strings_of(value)]
    joined = "\n    ".join(strings)
    return f"{name} IN TXT {joined}" if len(strings) == 1 else f"{name} IN TXT ( {joined} )"


def tags_of(value: str) -> dict[str, str]:
    """The tags of a record, in lower case; white space within values is left out (RFC 6376 §3.2)."""
    found = {}
    for part in _PARTS.split(value.strip()):
        tag, equals, text = part.partition("=")
        if equals:
            found[tag.strip().lower()] = "".join(text.split())
    return found


def is_record(value: str) -> bool:
    """Whether a TXT record is one of DKIM, and not of something else that has the same name."""
    tags = tags_of(value)
    return "p" in tags and tags.get("v", "DKIM1") == "DKIM1"


def fault_of(tags: Mapping[str, str], key: DkimKey) -> str | None:
    """Why the record with these tags does not verify what `key` signs; None: it does."""
    published = tags.get("p", "")
    if not published:
        return "is revoked: its p= is empty"
    if tags.get("k", "rsa") != key.algorithm:
        return f"is for the algorithm {tags.get('k', 'rsa')}, and the key is {key.algorithm}"
    try:
        same = base64.b64decode(published, validate=True) == key.public
    except (binascii.Error, ValueError):
        return "has a p= that is not base64: a part of it may be missing"
    if not same:
        return "has another public key"
    if "h" in tags and "sha256" not in tags["h"].lower().split(":"):
        return f"allows the hash {tags['h']} alone, and signatures have sha256"
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return f"is for {tags['s']} alone, not for mail"
    return None
