"""The forms of settings about DKIM: a domain, and keys by their selectors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from outbox.settings.dkim import KeySource
from outbox.settings.shown import shown
from outbox.settings.values import Form, text

_LABELS = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.IGNORECASE)
_PEM = r"-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----"
_PAIR = re.compile(rf"([^\s=]+)=({_PEM}|[^\s]+)(?:\s+|$)", re.DOTALL)
_LONGEST = 200  # characters of a selector


def _parse_domain(raw: Any) -> str:
    name = str(text().parse(raw)).rstrip(".").lower()
    if not name.isascii():
        import idna  # not at the top: most names are ASCII

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except UnicodeError:  # idna.IDNAError is one
            raise ValueError(f"is {shown(raw)}, not a domain: its letters are not allowed in one") from None
    if "." not in name or not _LABELS.fullmatch(name):
        raise ValueError(f"is {shown(raw)}, not a domain such as example.org")
    return name


def _parse_keys(raw: Any) -> tuple[KeySource, ...]:
    """`selector=path`, or the key itself as PEM in place of the path; a mapping has the same pairs."""
    pairs = list(_pairs(raw))
    if not pairs:
        raise ValueError("is empty: give selector=path")
    sources = [_source(selector, value) for selector, value in pairs]
    names = [source.selector for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"has the selector {shown(twice)} twice. A new key needs a selector of its own")
    return tuple(sources)


def _pairs(raw: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(raw, Mapping):
        yield from raw.items()
        return
    if not isinstance(raw, str):
        raise ValueError(f"is of type {type(raw).__name__}, not a text or a mapping from selectors to paths")
    rest, at = raw.replace("\\n", "\n").strip(), 0
    while at < len(rest):
        found = _PAIR.match(rest, at)
        if found is None:
            raise ValueError("is not of the form selector=path selector2=path2, separated by blanks")
        yield found[1], found[2]
        at = found.end()


def _source(selector: Any, value: Any) -> KeySource:
    if not isinstance(selector, str) or len(selector) > _LONGEST or not _LABELS.fullmatch(selector):
        raise ValueError("has a selector that is not a name in the DNS, such as june2027: letters, digits and hyphens")
    if isinstance(value, Path):
        return KeySource(selector.lower(), value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"has for the selector {shown(selector)} neither a path nor a key in PEM form")
    if value.lstrip().startswith("-----BEGIN"):
        return KeySource(selector.lower(), pem=value.replace("\\n", "\n"))
    return KeySource(selector.lower(), Path(str(text(4096).parse(value))))


DKIM_DOMAIN = Form("a domain", _parse_domain)
DKIM_KEYS = Form(
    "`selector=path selector2=path2`, or a mapping; in place of a path, the key as PEM", _parse_keys, secret=True
)
