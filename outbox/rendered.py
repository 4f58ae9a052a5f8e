"""A statement that is rendered to the driver's text once.

`Connection.execute` looks a statement up among those it has rendered, by all of its parts, and wraps its result by its
columns; of a short statement that is the greater part of what the client spends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa


class Rendered:
    """One statement for one dialect.

    What it returns is not to be relied on to have the types of its columns: it is as the driver gives it, unless a
    schema is translated or the text depends on the parameters, where SQLAlchemy executes it as ever.
    """

    def __init__(self, statement: sa.Executable, dialect: sa.Dialect) -> None:
        self._statement = statement
        self._text: str | None = None
        if dialect.paramstyle != "pyformat":
            return
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        if any(bind.expanding or bind.literal_execute for bind in compiled.binds.values()):
            return  # its text depends on its parameters
        self._text = compiled.string
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
        return connection.exec_driver_sql(self._text, values)
