"""Signed, expiring tokens for the links in mail. Each is good for one purpose only.

What voids a token once it was used is in its claims: a password reset and a change of address carry the user's stamp,
which changes with either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from flask import current_app
from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer


class Purpose(StrEnum):
    """What a link is for."""

    CONFIRM = "confirm"
    RESET = "reset"
    CHANGE_EMAIL = "change-email"


_LIFETIMES = {
    Purpose.CONFIRM: "FLASKY_CONFIRM_SECONDS",
    Purpose.RESET: "FLASKY_RESET_SECONDS",
    Purpose.CHANGE_EMAIL: "FLASKY_CHANGE_EMAIL_SECONDS",
}


class TokenError(Exception):
    """A token that was not issued by this application for this purpose, or was changed."""


class TokenExpiredError(TokenError):
    """A token that was good once."""


def issue(purpose: Purpose, **claims: str | int) -> str:
    """A token that says `claims`, for use in a URL."""
    token = _serializer(purpose).dumps(claims)
    return token if isinstance(token, str) else token.decode("ascii")


def read(purpose: Purpose, token: str) -> Mapping[str, Any]:
    """The claims of `token`. Raises TokenError or TokenExpiredError."""
    try:
        claims = _serializer(purpose).loads(token, max_age=_lifetime(purpose))
    except SignatureExpired as error:
        raise TokenExpiredError from error
    except BadData as error:
        raise TokenError from error
    if not isinstance(claims, dict):
        raise TokenError
    return claims


def expiry(purpose: Purpose) -> datetime:
    """When a token that is issued now expires."""
    return datetime.now(UTC) + timedelta(seconds=_lifetime(purpose))


def _lifetime(purpose: Purpose) -> int:
    seconds: int = current_app.config[_LIFETIMES[purpose]]
    return seconds


def _serializer(purpose: Purpose) -> URLSafeTimedSerializer[str]:
    keys = [*(current_app.config.get("SECRET_KEY_FALLBACKS") or []), current_app.config["SECRET_KEY"]]
    return URLSafeTimedSerializer(keys, salt=f"flasky:{purpose}", signer_kwargs={"digest_method": hashlib.sha256})
