"""Values in errors."""

from __future__ import annotations

from typing import Any


def shown(raw: Any) -> str:
    """As an error may show it: its beginning."""
    text = repr(raw)
    return text if len(text) <= 80 else f"{text[:77]}…"
