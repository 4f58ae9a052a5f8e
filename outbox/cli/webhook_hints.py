"""What `outbox-check` says of providers' webhooks: whether what they report of the mail that they carry is heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from outbox.delivery.presets import preset_of
from outbox.operations import Finding
from outbox.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

_MOUNT = "Register outbox.web.events_blueprint(), see docs/webhooks.md."


def findings(configured: Settings, app: Flask) -> Iterator[Finding]:
    """A fault where a signature could not be verified; notes on what is half configured."""
    from outbox.web.events import extra, is_mounted
    from outbox.web.events.providers import PROVIDERS

    carrying = {preset_of(relay.preset, relay.host).name for relay in configured.transports}
    mounted = is_mounted(app)
    for provider in PROVIDERS:
        if provider.is_open(configured):
            if provider.needs_extra and not extra.is_there():
                yield Finding("webhooks", False, extra.fault(provider.setting))
            if not mounted:
                words = f"{provider.setting} is set, but this application takes no webhooks"
                yield Finding("webhooks", None, words, _MOUNT)
        elif provider.name in carrying:
            words = f"mail goes by {provider.name}, and what it reports later (bounces, complaints) is not heard"
            remedy = (
                f"Set {provider.setting}, see docs/webhooks.md." if mounted else f"Set {provider.setting}. {_MOUNT}"
            )
            yield Finding("webhooks", None, words, remedy)
