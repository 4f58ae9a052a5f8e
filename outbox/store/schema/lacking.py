"""What a database lacks of tables that are described: columns, indexes, constraints, ids that are not given twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.store.databases import of


def lacking(connection: sa.Connection, metadata: sa.MetaData) -> dict[str, list[Any]]:
    """By the table's name: the table itself, or its columns, indexes and constraints that are not there.

    A string says what has no object: "AUTOINCREMENT". Indexes and unique constraints are found by their name or their
    columns, check constraints by their name and, where they list words, by those.
    """
    inspector = sa.inspect(connection)
    names = list(metadata.tables)
    # where the application's engine translates schemas, the tables are in another one than the session's own
    schema = (connection.get_execution_options().get("schema_translate_map") or {}).get(None)
    present = set(names) & set(inspector.get_table_names(schema=schema))
    found = _Found(inspector, sorted(present), schema)
    lacks: dict[str, list[Any]] = {}
    for table in metadata.sorted_tables:
        if table.name not in present:
            lacks[table.name] = [table]
        elif missing := list(_of_table(connection, table, found)):
            lacks[table.name] = missing
    return lacks


def words(lacks: dict[str, list[Any]]) -> list[str]:
    """The same for people, sorted: `table`, `table.column`, `index NAME of table`."""
    return sorted(_words(name, what) for name, missing in lacks.items() for what in missing)


@dataclass(frozen=True)
class Narrow:
    """A column that is there, and has room for fewer characters than it should."""

    column: sa.Column[Any]


class _Found:
    """What is there, asked for all tables at once where the database can."""

    def __init__(self, inspector: sa.Inspector, names: list[str], schema: str | None) -> None:
        if not names:
            return
        self.columns = _by_name(inspector.get_multi_columns(filter_names=names, schema=schema))
        self.indexes = _by_name(inspector.get_multi_indexes(filter_names=names, schema=schema))
        self.uniques = _by_name(inspector.get_multi_unique_constraints(filter_names=names, schema=schema))
        self.checks = _by_name(inspector.get_multi_check_constraints(filter_names=names, schema=schema))


def _by_name(found: Any) -> dict[str, list[Any]]:
    return {name: list(rows) for (_, name), rows in found.items()}


def _of_table(connection: sa.Connection, table: sa.Table, found: _Found) -> Iterable[Any]:
    columns = {column["name"]: column["type"] for column in found.columns[table.name]}
    yield from (column for column in table.columns if column.name not in columns)
    if of(connection).alters_constraints:  # else text is as long as it is
        there = (column for column in table.columns if column.name in columns)
        yield from (Narrow(column) for column in there if _is_narrow(connection.dialect, column, columns[column.name]))
    uniques = found.uniques.get(table.name, [])
    indexes = [*found.indexes.get(table.name, []), *uniques]
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if not _there(str(index.name), [column.name for column in index.columns], indexes):
            yield index
    single = [*uniques, *(index for index in found.indexes.get(table.name, []) if index["unique"])]
    checks = {str(check["name"]): str(check["sqltext"]) for check in found.checks.get(table.name, [])}
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            if not _there(None, [column.name for column in constraint.columns], single):
                yield constraint
        elif isinstance(constraint, sa.CheckConstraint) and not _holds(constraint, checks):
            yield constraint
    if of(connection).reuses_ids(connection, table):
        yield "AUTOINCREMENT"


def _is_narrow(dialect: sa.Dialect, column: sa.Column[Any], type_: Any) -> bool:
    wanted, has = getattr(column.type.dialect_impl(dialect), "length", None), getattr(type_, "length", None)
    return wanted is not None and has is not None and has < wanted


def _there(name: str | None, columns: list[str], indexes: list[Any]) -> bool:
    return any(
        (name is not None and index["name"] == name) or list(index["column_names"]) == columns for index in indexes
    )


def _holds(constraint: sa.CheckConstraint, checks: dict[str, str]) -> bool:
    sqltext = checks.get(str(constraint.name))
    wanted = str(constraint.sqltext).split("'")[1::2]
    return sqltext is not None and all(f"'{word}'" in sqltext for word in wanted)


def _words(name: str, what: Any) -> str:
    if isinstance(what, sa.Table):
        return name
    if isinstance(what, sa.Column):
        return f"{name}.{what.name}"
    if isinstance(what, Narrow):
        return f"{name}.{what.column.name} of {what.column.type.length} characters"  # type: ignore[attr-defined]
    if isinstance(what, sa.Index):
        return f"index {what.name} of {name}"
    if isinstance(what, sa.UniqueConstraint):
        return f"unique constraint {what.name} of {name}"
    return f"check constraint {what.name} of {name}" if isinstance(what, sa.CheckConstraint) else f"{what} of {name}"
