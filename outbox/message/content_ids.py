"""Which parts of the message HTML refers to, by their Content-ID (RFC 2392)."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import unquote

_CID = re.compile(r"""\bcid:([^"'\s<>)]+)""", re.IGNORECASE)


def references_in(html: str) -> dict[str, None]:
    """The Content-IDs in `html`, in order."""
    if "cid:" not in html.lower():
        return {}
    found = _CID.findall(html) + _CID.findall(unescape(html))
    return dict.fromkeys([*found, *map(unquote, found)])
