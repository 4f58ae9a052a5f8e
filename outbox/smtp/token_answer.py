"""What a token endpoint's answer means (RFC 6749 §5): a token and its life, or why there is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from outbox.delivery.reply import printable

_TOKEN = re.compile(r"[!-~]{1,32768}")
_REFRESH_TOKEN = re.compile(r"[ -~]{1,32768}")
_LONGEST = 300  # characters of a provider's words
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})  # errors that end by themselves
_LATER = frozenset({408, 425, 429})  # statuses that do


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and for how many seconds from the request on; None: nobody said."""

    token: str = field(repr=False)
    life: float | None
    refresh_token: str | None = field(default=None, repr=False)  # the one that follows, where the provider gave one


class TokenError(Exception):
    """There is no token. `refused`: the provider said no, or can't be asked as it is configured; else: not now."""

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.text = text
        self.refused = refused


def granted(status: int, body: bytes, where: str, secrets: Iterable[str] = ()) -> Grant:
    """The token in an endpoint's answer. Raises TokenError with the provider's words, without `secrets`."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    found = answer if isinstance(answer, Mapping) else {}
    if status == 200 and "access_token" in found:
        grant = made_of(found["access_token"], found.get("expires_in"), where)
        following = found.get("refresh_token")
        usable = isinstance(following, str) and _REFRESH_TOKEN.fullmatch(following)
        return replace(grant, refresh_token=following) if usable else grant
    error = found.get("error")
    if isinstance(error, Mapping):  # some nest it
        error = error.get("status") or error.get("code")
    words = str(found.get("error_description") or found.get("message") or "").partition("\n")[0]
    said = hidden(": ".join(part for part in (str(error or ""), words) if part), secrets)
    if status == 200:
        raise TokenError(f"{where} answered without an access token{said and f' ({said})'}", refused=True)
    passing = status >= 500 or status in _LATER or error in _PASSING
    raise TokenError(f"{where} answered {status}{said and f', {said}'}", refused=not passing)


def made_of(token: Any, life: Any, where: str) -> Grant:
    """A token and its life, as whoever gave them wrote them. Raises TokenError for what can be none."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TokenError(f"{where} gave no access token but {_described(token)}", refused=True)
    if life is None:
        return Grant(token, None)
    try:
        seconds = float(life)
    except (TypeError, ValueError):
        seconds = math.nan
    if not seconds > 0:
        raise TokenError(f"{where} gave an access token that lives for {str(life)[:20]!r} seconds", refused=True)
    return Grant(token, min(seconds, 10 * 366 * 86_400.0))


def hidden(text: str, secrets: Iterable[str], *, most: int | None = _LONGEST) -> str:
    """The beginning of what a provider said, `most` characters, printable, without `secrets`."""
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    return printable(text)[:most]


def _described(token: Any) -> str:
    if not isinstance(token, str):
        return f"a value of type {type(token).__name__}"
    return f"a text of {len(token)} characters, some of which no token has" if token.strip() else "an empty text"
