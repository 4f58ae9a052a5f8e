"""The forms of settings about access tokens: a URL, a file, a command, a function."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from outbox.settings.values import SECRET, Form, text


def _parse_web_url(raw: Any) -> str:
    url = str(text(1000).parse(raw))
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"https", "http"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("is not a URL such as https://login.example.org/oauth2/token")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password, which have settings of their own")
    return url


def _parse_path(raw: Any) -> Path:
    if isinstance(raw, Path):
        return raw
    return Path(str(text(4096).parse(raw)))


def _parse_command(raw: Any) -> str:
    command = str(SECRET.parse(raw))
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"is not a command: {str(error).lower()}") from None
    if not words:
        raise ValueError("is not a command: it is empty")
    return command


def _parse_function(raw: Any) -> Callable[[], Any]:
    if not callable(raw):
        raise ValueError(
            "is not a function without arguments that returns an access token. A token that nobody renews goes in "
            "MAIL_PASSWORD, with OUTBOX_AUTH=XOAUTH2"
        )
    function: Callable[[], Any] = raw
    return function


WEB_URL = Form("a URL", _parse_web_url)
PATH = Form("the name of a file", _parse_path)
COMMAND = Form("a command, secret", _parse_command, secret=True)
FUNCTION = Form("a function", _parse_function, secret=True)
