"""One thing that a diagnosis looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `ok` None: not a fault, but to be known."""

    check: str
    ok: bool | None
    words: str
    remedy: str = ""
