"""What callers put into a message → plain `str` and pairs, or a MessageError that names the field.

The only place in composing where code of the caller runs (`__str__` of lazy strings, iterators, `items()`); whatever it
raises becomes the cause of a MessageError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import index
from os import PathLike
from os.path import basename
from typing import Any

from outbox.core.errors import MessageError

_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str),
    (bytes, bytes),
    (bytearray, bytes),
    (memoryview, bytes),
    (tuple, tuple),
    (list, list),
    (int, index),
    (float, float),
    (type(None), lambda _: None),
)
"""Types that a proxy may stand for, and how to get at the value."""

_CONTAINERS = (str, bytes, list, tuple, set, frozenset, dict)


def text_of(value: object, field: str) -> str:
    """A `str`, `bytes` in UTF-8 or a lazy string (an object with a `__str__` of its own) as exactly `str`."""
    if type(value) is str:
        return value
    value = plain(value, field)
    if isinstance(value, str):
        return str.__str__(value)  # markupsafe.Markup would escape what it is joined with
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise MessageError(
                field, f"is bytes that are not UTF-8 (at byte {error.start})", "Decode it and give a str."
            )
    if value is None or type(value).__str__ is object.__str__:
        raise MessageError(field, f"is {kind_of(value)}", "Give a str.")
    try:
        return str.__str__(str(value))
    except Exception as error:
        raise MessageError(
            field, f"is {kind_of(value)}, and its __str__ raised {type(error).__name__}", "See the cause."
        ) from error


def plain(value: object, field: str) -> Any:
    """What a proxy stands for: of werkzeug's LocalProxy, or of anything whose `__class__` names another type."""
    try:
        claimed = value.__class__
        if issubclass(type(value), claimed):
            return value
        return next((make(value) for kind, make in _PLAIN if issubclass(claimed, kind)), value)
    except Exception as error:
        raise MessageError(
            field, f"is {kind_of(value)} that stands for nothing ({type(error).__name__})", "See the cause."
        ) from error


def file_name(value: object, field: str) -> str:
    """The name of a file; of a path (`pathlib.Path`) the last part: folders are private."""
    if isinstance(value, PathLike):
        value = basename(value)
    return text_of(value, field)


def items_of(value: object, field: str) -> list[Any]:
    """The elements of a list, tuple, set or other iterable; a string is refused, being a likely mistake."""
    value = plain(value, field)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise MessageError(field, f"is {kind_of(value)}", f"Give a list, also for one: {field}=[…].")
    try:
        return list(value)
    except Exception as error:
        raise MessageError(field, f"cannot be iterated ({type(error).__name__})", "See the cause.") from error


def pairs_of(value: Any, field: str) -> list[tuple[Any, Any]]:
    """(key, value) of a mapping, of anything with `items()`, or of an iterable of pairs; none of None."""
    if value is None:
        return []
    try:
        return [(key, item) for key, item in (value.items() if hasattr(value, "items") else value)]
    except Exception as error:
        raise MessageError(field, f"is {kind_of(value)}, not a mapping", "Give a dict.") from error


def is_empty(value: object) -> bool:
    """Whether nothing was given: None, or an empty string or container, or a proxy of such."""
    if value is None:
        return True
    try:
        if type(value) in _CONTAINERS or isinstance(value, _CONTAINERS):
            return not value
        return value.__class__ is type(None)
    except Exception:  # noqa: BLE001 - a proxy of a caller's own; reading the value reports what is wrong with it
        return False


def kind_of(value: object) -> str:
    """`value`'s type in words, never its content."""
    return "None" if value is None else f"of type {type(value).__name__}"
