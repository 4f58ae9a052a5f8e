"""Statements that are rendered to the driver's text once.

`Connection.execute` looks a statement up among those it has rendered, by all of its parts, and wraps its result by its
columns; of a short statement that is the greater part of what the client spends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import BindTyping

from outbox.store.databases import of

_STYLES = {"pyformat", "format", "qmark"}
"""Of parameters, as the driver takes them."""


def table_text(engine: sa.Engine, table: sa.Table) -> str:
    """The name of a table as SQL text, with the schema that the engine translates its own to."""
    schemas = engine.get_execution_options().get("schema_translate_map") or {}
    schema, quoting = schemas.get(table.schema, table.schema), engine.dialect.identifier_preparer
    return f"{quoting.quote_schema(schema)}.{quoting.quote(table.name)}" if schema else quoting.quote(table.name)


def now_text(dialect: sa.Dialect, seconds: str) -> str:
    """`DbNow` as SQL text for `Text`; `seconds` is such, too."""
    now = of(dialect).now("{seconds}")
    return now.replace(":", r"\:").replace("{seconds}", seconds)  # the colons are no parameters


class Text:
    """SQL text whose parameters are named `:so`, for whatever style the driver takes them in."""

    def __init__(self, dialect: sa.Dialect, text: str) -> None:
        compiled = sa.text(text).compile(dialect=dialect)
        self._text = compiled.string
        self._order = compiled.positiontup if compiled.positional else None

    def execute(
        self,
        connection: sa.Connection,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        prefix: str = "",
    ) -> sa.CursorResult[Any]:
        """Execute it, once for each of several sets of parameters."""
        if isinstance(parameters, Mapping):
            return connection.exec_driver_sql(prefix + self._text, self._for_driver(parameters))
        return connection.exec_driver_sql(prefix + self._text, [self._for_driver(one) for one in parameters])

    def _for_driver(self, parameters: Mapping[str, Any]) -> Any:
        if self._order is None:
            return dict(parameters)
        return tuple(parameters[name] for name in self._order)


class Rendered:
    """One statement for one dialect.

    What it returns is not to be relied on to have the types of its columns: it is as the driver gives it, unless a
    schema is translated or the text depends on the parameters, where SQLAlchemy executes it as usual.
    """

    def __init__(self, statement: sa.Executable, dialect: sa.Dialect) -> None:
        self._statement = statement
        self._text: str | None = None
        if dialect.paramstyle not in _STYLES or dialect.bind_typing is BindTyping.SETINPUTSIZES:
            return
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        if any(bind.expanding or bind.literal_execute for bind in compiled.binds.values()):
            return  # its text depends on its parameters
        self._text = compiled.string
        self._order: list[str] | None = compiled.positiontup if compiled.positional else None
        self._fixed = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
        self._processors = {
            name: processor
            for name, bind in compiled.binds.items()
            if (processor := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        for name in self._processors.keys() & self._fixed.keys():
            self._fixed[name] = self._processors[name](self._fixed[name])

    def execute(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> sa.CursorResult[Any]:
        """Execute it; `parameters`: all that it requires, by name."""
        if self._text is None or connection.get_execution_options().get("schema_translate_map"):
            return connection.execute(self._statement, parameters)
        values = self._fixed | dict(parameters)
        for name, process in self._processors.items():
            if name in parameters:
                values[name] = process(values[name])
        if self._order is None:
            return connection.exec_driver_sql(self._text, values)
        return connection.exec_driver_sql(self._text, tuple([values[name] for name in self._order]))
