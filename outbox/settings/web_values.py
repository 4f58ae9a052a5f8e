"""The forms of settings that hold web addresses."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from outbox.settings.host_values import LOCAL
from outbox.settings.shown import shown
from outbox.settings.values import Form


def _parse_web_address(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"is {shown(raw)}, not a text such as https://shop.example/unsubscribe")
    address = raw.strip()
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError as error:
        raise ValueError(f"is {shown(raw)}, which is not an address: {error}") from None
    if not host or not address.isascii() or any(one.isspace() for one in address) or parts.query or parts.fragment:
        raise ValueError(
            f"is {shown(raw)}: give an address such as https://shop.example/unsubscribe, in ASCII and without a query"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOCAL):
        raise ValueError(f"is {shown(raw)}, and must begin with https:// (http:// only for this machine)")
    return address


WEB_ADDRESS = Form("an https address", _parse_web_address)
