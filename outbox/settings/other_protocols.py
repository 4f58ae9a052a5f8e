"""Transports that are not SMTP: what their URLs may say, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, unquote

from outbox.settings.relay import Relay
from outbox.settings.shown import shown

EXTRA: Mapping[str, frozenset[str]] = {"ses": frozenset({"region", "configuration_set", "session_token"})}
"""Options that one protocol has beside those of every transport."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_REGION = re.compile(r"(?:^|\.)email(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.")
_KEY = re.compile(r"[!-~]*")
_PLACE = "ses+https://KEY_ID:SECRET@email.eu-west-1.amazonaws.com"


def own_place(parts: SplitResult) -> dict[str, Any]:
    """Host and port of a scheme of the application's own; it needs neither. Raises ValueError."""
    if parts.path.strip("/"):
        raise ValueError(f"a path ({shown(parts.path)}) means nothing here: what else it needs goes into options")
    return {"server": unquote(parts.hostname or ""), "port": parts.port or 0}


def without_smtp(relay: Relay, options: Mapping[str, str], key: str, faults: list[str]) -> tuple[Relay, list[str]]:
    """`relay` with its `options`, and what is wrong with it beside the `faults`. `key`: the setting of its URL."""
    relay = replace(relay, options=tuple(options.items()))
    if faults:
        return relay, faults
    if relay.make is not None:
        return relay, [*_refused(relay, relay.make, key)]
    relay, problem = _with_region(relay, options)
    return relay, [f"{key}: {one}." for one in (problem, _half_a_key(relay)) if one]


def wrong_schemes(makers: Mapping[str, Any], taken: Collection[str]) -> Iterator[str]:
    """What is wrong with the schemes of the application's own transports."""
    for scheme, make in makers.items():
        if not _SCHEME.fullmatch(str(scheme)):
            yield f"init_app(transports=…): {shown(scheme)} is not the scheme of a URL, such as 'acme+https'."
        elif scheme in taken:
            yield f"init_app(transports=…): the scheme {scheme!r} is the outbox's own. Choose another."
        elif not callable(make):
            yield f"init_app(transports=…): {scheme!r} is not a class, or a function that makes one."


def _refused(relay: Relay, make: Any, key: str) -> Iterator[str]:
    """What the application's own class has against its settings."""
    if not callable(make):  # `wrong_schemes` says so
        return
    try:
        made = make(relay.endpoint)
    except ValueError as problem:
        yield f"{key}: {problem}."
    else:
        if not callable(getattr(made, "deliver", None)):
            yield f"{key}: what init_app(transports=…) has for it makes {type(made).__name__}, which has no `deliver`."


def _with_region(relay: Relay, options: Mapping[str, str]) -> tuple[Relay, str | None]:
    found = _REGION.search(relay.host.lower())
    region = options.get("region") or (found[1] if found else None)
    if region is None:
        return relay, "its host does not name a region of SES. Add the option region=eu-west-1 (or another)"
    return replace(relay, options=tuple({**options, "region": region}.items())), None


def _half_a_key(relay: Relay) -> str | None:
    token = dict(relay.options).get("session_token", "")
    if not _KEY.fullmatch(f"{relay.username or ''}{token}"):
        return "the access key's ID or session_token holds a character that none has: is it percent-encoded"
    if relay.username and relay.password:
        return None
    return f"there is no access key in it: user name and password are its ID and its secret, as in {_PLACE}"
