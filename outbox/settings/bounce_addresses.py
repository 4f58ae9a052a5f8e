"""The signed addresses of one application, by its settings."""

from __future__ import annotations

from outbox.message.bounce_address import BounceAddresses
from outbox.settings import Settings
from outbox.settings.secret_keys import derived


def bounce_addresses(settings: Settings) -> BounceAddresses | None:
    """They are made and read by these; None: OUTBOX_BOUNCE_DOMAIN is not set. Raises ConfigurationError."""
    if settings.bounce_domain is None:
        return None
    return BounceAddresses(settings.bounce_domain, derived(settings, "bounce address"), settings.environment)
