"""What `outbox-check` says of mail that people subscribe to: whether they can leave it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from outbox.extension.state import bound_to
from outbox.extension.subscription import is_subscription
from outbox.operations import Finding
from outbox.settings import Settings

if TYPE_CHECKING:
    from flask import Flask


def findings(configured: Settings, app: Flask) -> Iterator[Finding]:
    """A note where mail of the category `subscription` does not say how to unsubscribe."""
    kinds = [one.name for one in bound_to(app).kinds if is_subscription(one)]
    if kinds and configured.unsubscribe_url is None:
        words = f"mail of the kind {kinds[0]} is of the category subscription, and has no link to unsubscribe"
        remedy = "Set OUTBOX_UNSUBSCRIBE_URL and register outbox.web.unsubscribe_blueprint(), see docs/unsubscribe.md."
        yield Finding("unsubscribe", None, words, remedy)
