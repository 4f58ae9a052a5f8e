"""The keys that addresses and links of ours are signed with, and the one that addresses are hashed with."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Protocol

from outbox.core.errors import ConfigurationError

_NO_KEY = b"outbox address"  # the hash only keeps addresses from being read at a glance


class HasSecrets(Protocol):
    """The part of the settings that is asked for here."""

    @property
    def secrets(self) -> tuple[bytes, ...]: ...


def secrets_of(config: Mapping[str, Any], own: str | None) -> tuple[bytes, ...]:
    """Those of `own` (OUTBOX_SECRET_KEY), or else Flask's SECRET_KEY and its fallbacks: the first signs, all verify."""
    if own:
        return tuple(one.encode() for one in own.split())
    flask_has: list[Any] = [config.get("SECRET_KEY"), *(config.get("SECRET_KEY_FALLBACKS") or ())]
    return tuple(_bytes(one) for one in flask_has if one)


def derived(settings: HasSecrets, purpose: str) -> tuple[bytes, ...]:
    """32 bytes of each secret, for one purpose: what is signed for one proves nothing to another.

    Raises ConfigurationError where there is no secret.
    """
    if not settings.secrets:
        problem = (
            f"The {purpose} can't be signed: the application has no secret. Set SECRET_KEY, or OUTBOX_SECRET_KEY to a "
            "random text."
        )
        raise ConfigurationError([problem])
    return tuple(hmac.new(secret, f"outbox {purpose}".encode(), hashlib.sha256).digest() for secret in settings.secrets)


def address_key(own: str | None) -> bytes:
    """The key of `message.digest`. `own`: OUTBOX_ADDRESS_KEY."""
    return hashlib.blake2b(own.encode()).digest() if own else _NO_KEY


def _bytes(secret: Any) -> bytes:
    return secret if isinstance(secret, bytes) else str(secret).encode()
