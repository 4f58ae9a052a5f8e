"""Which values of an engine's tables are sealed, and the types of their columns, which open them again.

What belongs to a message is sealed where it is written, if its kind is. What does not (the audit, suppressions, a
relay's words about all mail) is sealed by its column's type, wherever the engine has a keyring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from outbox.message import sealed, sealed_bytes
from outbox.message.keyring import Keyring
from outbox.store.types import big_binary

_RING = "_outbox_keyring"


def give_keyring(engine: sa.Engine | sa.Connection, ring: Keyring | None) -> None:
    """What is written by `engine` from now on is sealed with the newest of `ring`."""
    if ring is not None:
        setattr(engine.dialect, _RING, ring)


def ring_of(dialect: Dialect) -> Keyring | None:
    """The keyring that `give_keyring` gave."""
    return getattr(dialect, _RING, None)


class Sealable(sa.types.TypeDecorator[str]):
    """A text that is opened when it is read. `always`: and sealed when it is written, where there is a keyring."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int, purpose: str, *, always: bool = False) -> None:
        super().__init__(length)
        self.length, self.purpose, self.always = length, purpose, always

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        if not self.always:
            return None
        purpose, length = self.purpose, self.length

        def process(value: Any) -> Any:
            ring = getattr(dialect, _RING, None)
            if ring is None or not value or sealed.is_sealed(value):
                return value
            return sealed.seal(value, purpose, ring.new(), length)

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        purpose = self.purpose

        return lambda value: opened(value, purpose)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """What it is compared with stays clear: no two sealed values are equal."""
        return self.impl_instance


class SealableJson(sa.types.TypeDecorator[Any]):
    """The same for JSON: sealed, it is a JSON text."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self, purpose: str, *, none_as_null: bool = False, always: bool = False) -> None:
        super().__init__(none_as_null=none_as_null)
        self.purpose, self.always = purpose, always

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        ring = getattr(dialect, _RING, None) if self.always else None
        return value if ring is None or value is None else sealed.seal_json(value, self.purpose, ring.new())

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        opened = opened_json(value, self.purpose)
        return _instead(self.purpose, opened) if isinstance(opened, sealed.Unreadable) else opened

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """As for JSON without this: an index into it is no JSON."""
        return self.impl_instance.coerce_compared_value(op, value)


class SealableBinary(sa.types.TypeDecorator[bytes]):
    """Bytes that are opened when they are read. Raises DamagedMessageError then."""

    impl = sa.LargeBinary
    cache_ok = True

    def __init__(self, purpose: str) -> None:
        super().__init__()
        self.purpose = purpose

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(big_binary().dialect_impl(dialect))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        data = None if value is None else bytes(value)
        return sealed_bytes.open_all(data, self.purpose) if data and sealed_bytes.is_sealed(data) else data


def plain_type(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """The type of a column that holds what is sealed already."""
    return kind.impl_instance if isinstance(kind, Sealable | SealableJson | SealableBinary) else kind


def as_stored(column: Any) -> Any:
    """A column that is not opened when it is read."""
    plain = plain_type(column.type)
    return column if plain is column.type else sa.type_coerce(column, plain).label(column.key)


def opened(value: Any, purpose: str) -> Any:
    """A text that was read as it is stored, in clear."""
    if sealed.is_sealed(value):
        return sealed.open_text(value, purpose)
    return sealed.shown_clear(value) if isinstance(value, str) else value


def _instead(purpose: str, why: str) -> Any:
    """What is read where a value can't be opened: of the form that its readers know."""
    return {"headers": [["Unreadable", str(why)]], "metadata": {"unreadable": str(why)}}.get(purpose)


def opened_json(value: Any, purpose: str) -> Any:
    """What was read from a column of JSON, in clear; a text that says why where it can't be opened."""
    return sealed.open_json(value, purpose) if isinstance(value, str) and sealed.is_sealed(value) else value
