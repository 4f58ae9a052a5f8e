"""The URL of a transport: what it consists of, in words that show no part of it that may be a password."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

from outbox.settings.shown import nearest, shown

_ELSEWHERE = {  # schemes that others have for it
    "starttls": "smtp+starttls",
    "smtp+tls": "smtp+starttls",
    "submission": "smtp+starttls",
    "smtp+ssl": "smtps",
    "submissions": "smtps",
    "ssl": "smtps",
    "tls": "smtps",
    "unix": "lmtp+unix",
}
_ENCODE = (
    "characters of user name and password that mean something in a URL must be percent-encoded: / as %2F, # as %23, "
    "? as %3F, @ as %40, [ as %5B"
)


def parts_of(url: str) -> SplitResult:
    """What a URL consists of. Raises ValueError."""
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError(f"that is not a valid URL; {_ENCODE}") from None


def host_of(parts: SplitResult) -> str:
    """The host in the URL of a server. Raises ValueError."""
    host = parts.hostname
    if not host:
        raise ValueError("there is no host in it")
    if "@" in parts.path or "@" in parts.fragment:
        raise ValueError(_ENCODE)
    if parts.path.strip("/") or parts.fragment:
        raise ValueError(f"a path ({shown(parts.path + parts.fragment)}) means nothing here")
    try:
        parts.port  # noqa: B018 - raises ValueError
    except ValueError:
        raise ValueError(f"its port is not a number from 0 to 65,535, or {_ENCODE}") from None
    return unquote(host)


def known_schemes(url: str, schemes: Iterable[str]) -> str:
    """All of them, and the one that is probably meant."""
    schemes = list(schemes)
    said = re.match(r"[A-Za-z+.-]{1,20}(?=:?//)", url.strip())
    meant = said and (_ELSEWHERE.get(said[0].lower()) or nearest(said[0].lower(), schemes))
    hint = f" Did you mean {meant}://?" if meant else ""
    return f"{', '.join(f'{scheme}://' for scheme in schemes)}.{hint}"
