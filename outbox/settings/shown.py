"""Values and names in errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def shown(raw: Any) -> str:
    """As an error may show it: its beginning."""
    text = repr(raw)
    return text if len(text) <= 80 else f"{text[:77]}…"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that `name` may be a slip of; None: it is like none."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)
