"""The extra that signatures of some providers need."""

from __future__ import annotations

import importlib.util

from outbox.core.errors import ConfigurationError


def is_there() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("cryptography") is not None


def fault(setting: str) -> str:
    """That it is missing, and what to do. `setting`: which asks for it."""
    return f"{setting} needs the extra crypto: pip install 'flask-outbox[crypto]'."


def needed(setting: str) -> None:
    """Raises ConfigurationError where it is not installed."""
    if not is_there():
        raise ConfigurationError([fault(setting)])
