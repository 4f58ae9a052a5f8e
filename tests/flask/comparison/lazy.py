"""Strings that are made when they are read, as libraries make them; none of these libraries is installed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class BabelString:
    """Like flask_babel's LazyString: an object of its own that passes everything else on to the string."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        if name == "__setstate__":
            raise AttributeError(name)
        return getattr(str(self), name)

    def __str__(self) -> str:
        return str(self._make())

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        return str(self) == other

    def __len__(self) -> int:
        return len(str(self))

    def __contains__(self, item: str) -> bool:
        return item in str(self)

    def __getitem__(self, key: Any) -> str:
        return str(self)[key]


class SpeakString(BabelString):
    """Like lazy strings that say they are a `str`, as Django's and speaklater's ancestors do."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return str

    @__class__.setter
    def __class__(self, value: type) -> None:
        raise TypeError
