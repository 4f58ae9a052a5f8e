"""Statements compiled once for all engines of a process: tests make thousands of engines, each with an empty cache."""

from __future__ import annotations

from collections.abc import Hashable
from copy import copy
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.util import LRUCache

from outbox.store.sealing import ring_of

_compiled: LRUCache[Any, Any] = LRUCache(3000)
_first: dict[Hashable, Dialect] = {}
_first_like: WeakKeyDictionary[Dialect, Dialect] = WeakKeyDictionary()
_compile = ClauseElement._compile_w_cache
_PLAIN = (str, int, tuple, frozenset, type(None))
_JSON = {"_json_serializer", "_json_deserializer"}  # the only functions that become part of what is compiled
_WHERE = {"default_schema_name", "_on_connect_isolation_level", "_has_events"}  # no statement's text depends on these


def compile_once() -> None:
    """From here on. The key of SQLAlchemy's cache has the dialect in it: one stands for all that are equal."""
    ClauseElement._compile_w_cache = _compile_once  # type: ignore[method-assign]


def _compile_once(self: ClauseElement, dialect: Dialect, *, compiled_cache: Any, **how: Any) -> Any:
    apart = getattr(dialect, "server_version_info", None) is None or ring_of(dialect) is not None
    if compiled_cache is None or apart:  # not yet connected, or with keys, which become part of what is compiled
        return _compile(self, dialect, compiled_cache=compiled_cache, **how)
    return _compile(self, _like(dialect), compiled_cache=_compiled, **how)


def _like(dialect: Dialect) -> Dialect:
    """One for all with the same class, server and options: a copy, as any of them may be given keys later."""
    if (first := _first_like.get(dialect)) is None:
        options = {
            (name, value)
            for name, value in vars(dialect).items()
            if name not in _WHERE and (isinstance(value, _PLAIN) or name in _JSON)
        }
        key = (type(dialect), frozenset(options))
        if key not in _first:
            _first[key] = copy(dialect)
            vars(_first[key])["_type_memos"] = WeakKeyDictionary()
        first = _first_like[dialect] = _first[key]
    return first
