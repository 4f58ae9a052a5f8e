"""Addresses: where a link in a mail leads, and where a log-in may go on to."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, has_request_context, request
from werkzeug.exceptions import BadRequest


def external_url(endpoint: str, **values: Any) -> str:
    """The whole URL of a view, for mail: on FLASKY_BASE_URL, or on the request's host if that is this machine.

    Any other host is refused with BadRequest, since whoever sends the request writes its Host header: a reset link
    that leads elsewhere would hand its token over.
    """
    path = current_app.url_map.bind("localhost").build(endpoint, values)
    return _base_url() + path


def _base_url() -> str:
    configured: str | None = current_app.config["FLASKY_BASE_URL"]
    if configured:
        return configured
    if has_request_context() and is_loopback(request.host):
        return request.root_url.rstrip("/")
    if has_request_context():
        raise BadRequest(
            f"Cannot write mail during a request to {request.host!r}: links in mail need the address of this site. "
            "Set FLASKY_BASE_URL to the address of this site."
        )
    return "http://localhost:5000"


def is_loopback(host: str) -> bool:
    """Whether `host` (with or without port) names this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_local_path(target: str) -> bool:
    """Whether a browser that is redirected to `target` stays on this site.

    Only a path is let through. Browsers take a backslash for a slash and drop tabs and line breaks, so that
    `/\\host` and `/<tab>/host` lead away like `//host`.
    """
    if not target.startswith("/") or target.startswith("//"):
        return False
    if "\\" in target or any(character <= " " or "\x7f" <= character <= "\x9f" for character in target):
        return False
    try:
        url = urlsplit(target)
    except ValueError:
        return False
    return not url.scheme and not url.netloc


def local_path(target: str | None, default: str) -> str:
    """`target` if it is a path of this site, else `default`."""
    return target if target and is_local_path(target) else default
