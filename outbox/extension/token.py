"""The application's own function for access tokens, as the settings take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from outbox.settings.token_source import TokenFunction

_SETTING = "OUTBOX_TOKEN"


def with_token(app: Flask, token: TokenFunction | None) -> Mapping[str, Any]:
    """The configuration of `app` with `token`, or with its own; it is called in an app context."""
    function = app.config.get(_SETTING) if token is None else token
    if not callable(function):
        return app.config  # an invalid value is reported with the other faults

    def in_context() -> Any:
        with app.app_context():
            return function()

    return {**app.config, _SETTING: in_context}
