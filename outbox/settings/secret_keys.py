"""The keys that addresses and links of ours are signed with, and the one that addresses are hashed with."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from outbox.core.errors import ConfigurationError

if TYPE_CHECKING:
    from outbox.settings.table import Table

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


def unsigned(settings: Table, secrets: tuple[bytes, ...]) -> list[str]:
    """Faults where something is to be signed and there is no secret: said at the start, and not at the first mail."""
    asked = [] if settings.bounce_domain is None else [("OUTBOX_BOUNCE_DOMAIN", "its addresses")]
    asked += [] if settings.unsubscribe_url is None else [("OUTBOX_UNSUBSCRIBE_URL", "its links")]
    return [
        f"{name} is set, and the application has no secret to sign {what} with. Set SECRET_KEY before init_app, or "
        "OUTBOX_SECRET_KEY to a random text."
        for name, what in ([] if secrets else asked)
    ]


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
