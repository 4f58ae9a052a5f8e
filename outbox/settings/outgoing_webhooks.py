"""The form of OUTBOX_WEBHOOKS: whom to tell of outcomes and events by HTTPS."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from outbox.delivery.happened import TYPES, unknown_types
from outbox.settings.host_values import is_this_machine
from outbox.settings.shown import shown
from outbox.settings.values import FILE, Form

PREFIX = "webhook:"
"""Of the names by which webhooks are told from handlers."""

LEAST_SECRET = 24  # bytes, as Standard Webhooks asks for
_FIELDS = {"url", "secret", "types", "kinds", "name", "allow_http", "ca_file"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address that is told."""

    name: str  # with PREFIX
    url: str = field(repr=False)  # it may hold a secret
    secrets: tuple[bytes, ...] = field(repr=False)  # all sign
    types: tuple[str, ...]
    kinds: tuple[str, ...] = ()  # of messages; none: all
    ca_file: Path | None = None  # None: the system's store

    def wants(self, type: str, kind: str | None) -> bool:
        """Whether it is told of what is of this type, about a message of this kind."""
        return type in self.types and (not self.kinds or kind in self.kinds)


def _parse(raw: Any) -> tuple[Webhook, ...]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raise ValueError("is not JSON: give a list of objects with url, secret and types") from None
    if isinstance(raw, Mapping):
        raw = [raw]
    if not isinstance(raw, list | tuple):
        raise ValueError(f"is of type {type(raw).__name__}, not a list of objects with url, secret and types")
    found = [_webhook(one, number) for number, one in enumerate(raw, 1)]
    names = [one.name for one in found]
    if double := sorted({one for one in names if names.count(one) > 1}):
        raise ValueError(f"has two webhooks of one name: {shown(double[0].removeprefix(PREFIX))}. Give each a name")
    return tuple(found)


def _webhook(raw: Any, number: int) -> Webhook:
    which = f"webhook {number}"
    if not isinstance(raw, Mapping):
        raise ValueError(f"{which} is of type {type(raw).__name__}, not an object with url, secret and types")
    if unknown := sorted(str(one) for one in raw.keys() - _FIELDS):
        raise ValueError(f"{which} has {shown(unknown[0])}; it takes {', '.join(sorted(_FIELDS))}")
    url = _url(raw.get("url"), which, allow_http=raw.get("allow_http") is True)
    types = tuple(_words(raw.get("types", ()), f"{which}: types"))
    if not types or unknown_types(types):
        what = f"holds {shown(unknown_types(types)[0])}" if types else "is missing"
        raise ValueError(f"{which}: types {what}; it takes {', '.join(TYPES)}")
    name = raw.get("name", f"{urlsplit(url).hostname}-{hashlib.sha256(url.encode()).hexdigest()[:8]}")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 100:
        raise ValueError(f"{which}: its name is {shown(name)}, not a text of up to 100 characters")
    secrets = tuple(_secret(one, which) for one in _words(raw.get("secret", ()), f"{which}: secret"))
    if not secrets:
        raise ValueError(f"{which} has no secret, by which its receiver knows that it is you")
    try:
        ca_file = FILE.parse(raw["ca_file"]) if raw.get("ca_file") else None
    except ValueError as error:
        raise ValueError(f"{which}: its ca_file {error}") from None
    kinds = tuple(_words(raw.get("kinds", ()), f"{which}: kinds"))
    return Webhook(PREFIX + name, url, secrets, types, kinds, ca_file)


def _words(raw: Any, what: str) -> Iterator[str]:
    """A text of words, or a list of texts."""
    words = raw.split() if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple) or not all(isinstance(one, str) for one in words):
        raise ValueError(f"{what} is neither a text nor a list of texts")
    yield from words


def _url(raw: Any, which: str, *, allow_http: bool) -> str:
    try:
        parts = urlsplit(raw if isinstance(raw, str) else "")
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in {"http", "https"} or not raw.isascii() or not raw.isprintable() or " " in raw:
        raise ValueError(f"{which}: its url is not an https URL")
    if parts.username is not None:
        raise ValueError(f"{which}: its url holds a user; the signature is what its receiver must verify")
    if parts.scheme == "http" and not (allow_http or is_this_machine(host)):
        raise ValueError(f"{which}: its url is plain http to another machine. Use https, or add allow_http: true")
    return str(raw)


def _secret(text: str, which: str) -> bytes:
    """The bytes of "whsec_" and base64, as Standard Webhooks writes it, or those of the text."""
    try:
        key = base64.b64decode(text[6:], validate=True) if text.startswith("whsec_") else text.encode()
    except binascii.Error:
        raise ValueError(f"{which}: its secret begins with whsec_, and what follows is not base64") from None
    if len(key) < LEAST_SECRET:
        raise ValueError(
            f"{which}: its secret has fewer than {LEAST_SECRET} bytes. Make one with `openssl rand -hex 24`"
        )
    return key


WEBHOOKS = Form("a list of objects, or the same as JSON", _parse, secret=True)
