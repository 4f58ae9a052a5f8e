"""Dataclasses that nobody changes, as cheap to make as those that may be changed.

Of a frozen one each field is set by a call of `object.__setattr__`: nine fields take 1.7 µs, not 0.33, and a worker
makes a dozen such values for each message. So these are frozen for mypy alone, which takes `value` for `dataclass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool, slots: bool) -> Any:
        """As `dataclass`, but that nothing stops who would change it; equality and hash are those of a frozen one."""
        return dataclass(slots=slots, unsafe_hash=frozen)
