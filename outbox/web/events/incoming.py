"""One request of a provider's, before it is believed: its parts, and the checks that several providers share."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

AHEAD = timedelta(minutes=5)
"""How far a provider's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """What came, and when."""

    body: bytes
    headers: Mapping[str, str]  # names in lower case
    now: datetime  # aware
    user: str | None = None  # basic auth
    password: str | None = None

    def header(self, name: str) -> str:
        """The value of a header; empty where it has none."""
        return self.headers.get(name.lower(), "")


class RefusedError(Exception):
    """Nobody is to send this again. `status`: the HTTP code that makes the provider leave it."""

    def __init__(self, why: str, status: int = 403) -> None:
        self.status = status
        super().__init__(why)


class UnavailableError(Exception):
    """It can't be verified now; the provider is to send it again."""


def is_one_of(given: str, known: Iterable[str]) -> bool:
    """Whether `given` is one of the secrets `known`, in a time that does not tell how much of it is right."""
    return any(hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode()) for secret in known)


def check_age(sent: datetime, now: datetime, longest: timedelta, status: int = 403) -> None:
    """Refuses what was signed longer ago than the provider repeats it, or in the future. Raises RefusedError."""
    if not now - longest <= sent <= now + AHEAD:
        raise RefusedError(
            f"its time stamp, {sent:%Y-%m-%d %H:%M:%S} UTC, is too old, or this machine's clock is wrong", status
        )


def check_credentials(incoming: Incoming, known: tuple[str, ...]) -> None:
    """Refuses what does not bring one of the pairs `known` (user:password) as basic auth. Raises RefusedError."""
    if incoming.user is None:
        raise RefusedError("it brings no user name and password: put them in the webhook's URL", 401)
    if not is_one_of(f"{incoming.user}:{incoming.password}", known):
        raise RefusedError("its user name or password is wrong")
