"""A JSON object in a column, one entry of which a statement sets."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


class JsonObjects:
    """As most databases have it. Keys are digits."""

    def with_entry(self, column: sa.ColumnElement[Any], entry: sa.ColumnElement[str], *values: Any) -> Any:
        """The object of a column, with the list of `values` as this `entry`."""
        return sa.func.json_set(column, entry, sa.func.json_array(*values))

    def entry(self, key: str) -> str:
        """The parameter that says which entry."""
        return f'$."{key}"'
