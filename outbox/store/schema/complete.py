"""Make tables what they should be: create those that are not there, add to the others what they lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, DropConstraint

from outbox.store.databases import of
from outbox.store.schema.lacking import Narrow, lacking

Tables = Callable[..., sa.MetaData]
"""Describes tables; takes a function that gives each another name."""

_REFERRING = ("outbox_message_blob", "outbox_attempt")
"""They go when the rows that they refer to go, also when SQLite drops the table of those."""


def complete(op: Any, tables: Tables, superseded: Mapping[str, Sequence[str]]) -> None:
    """Create and alter what is lacking; what is there already is left as it is, so this can be run again.

    `superseded`: constraints, by table, whose place others have taken. With `--sql` all tables are created.
    """
    metadata = tables()
    if op.get_context().as_sql:
        _create(op, metadata.sorted_tables)
        return
    connection = op.get_bind()
    lacks = lacking(connection, metadata)
    incomplete = {name: found for name, found in lacks.items() if not isinstance(found[0], sa.Table)}
    absent = [table for table in metadata.sorted_tables if table.name in lacks and table.name not in incomplete]
    if not of(connection).alters_constraints:
        _begin(connection)
        _create(op, absent)
        _rebuild(op, tables, incomplete)
        return
    _create(op, absent)
    for name, found in incomplete.items():
        _alter(op, connection, name, found)
    _drop_superseded(op, connection, metadata, superseded)


def _create(op: Any, tables: Sequence[sa.Table]) -> None:
    for table in tables:  # not by `op.create_table`: a naming convention of the application would rename constraints
        op.execute(CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            op.execute(CreateIndex(index))


def _alter(op: Any, connection: sa.Connection, name: str, lacks: Sequence[Any]) -> None:
    checks = {check["name"] for check in sa.inspect(connection).get_check_constraints(name)}
    for what in lacks:
        if isinstance(what, sa.Column):
            op.add_column(name, what._copy())
        elif isinstance(what, Narrow):
            op.alter_column(name, what.column.name, type_=what.column.type, existing_nullable=what.column.nullable)
        elif isinstance(what, sa.Index):
            op.execute(CreateIndex(what))
        elif isinstance(what, sa.Constraint):
            if what.name in checks:  # with other words
                op.execute(DropConstraint(what))
            op.execute(AddConstraint(what))


def _drop_superseded(
    op: Any, connection: sa.Connection, metadata: sa.MetaData, superseded: Mapping[str, Sequence[str]]
) -> None:
    inspector = sa.inspect(connection)
    for table, old in superseded.items():
        present = {unique["name"] for unique in inspector.get_unique_constraints(table)}
        for constraint in (name for name in old if name in present):
            column = next(iter(metadata.tables[table].columns))
            op.execute(DropConstraint(sa.UniqueConstraint(column, name=constraint, _column_flag=False)))


def _rebuild(op: Any, tables: Tables, incomplete: Mapping[str, Sequence[Any]]) -> None:
    """SQLite can't alter constraints: copy the rows into new tables, and let these take the names of the old.

    Where foreign keys are on, dropping a table deletes what refers to its rows; within a transaction they can't be
    turned off. So what refers to a table that is rebuilt is rebuilt with it, and dropped before it.
    """
    if not incomplete:
        return
    connection = op.get_bind()
    rebuilt = {*incomplete, *_referring(incomplete)}
    old = tables()
    new = tables(lambda name: f"new_{name}" if name in rebuilt else name)
    for table in new.sorted_tables:
        name = table.name.removeprefix("new_")
        if name in rebuilt:
            op.execute(CreateTable(table))
            _copy(connection, name, table)
    for table in reversed(old.sorted_tables):
        if table.name in rebuilt:
            op.execute(sa.text(f'DROP TABLE "{table.name}"'))
    for table in old.sorted_tables:
        if table.name in rebuilt:
            op.execute(sa.text(f'ALTER TABLE "new_{table.name}" RENAME TO "{table.name}"'))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                op.execute(CreateIndex(index))


def _referring(names: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    if "outbox_message" in names:
        found |= {"outbox_message_blob", "outbox_delivery", "outbox_attempt"}
    if "outbox_delivery" in names:
        found.add("outbox_attempt")
    return found


def _copy(connection: sa.Connection, name: str, into: sa.Table) -> None:
    present = {column["name"] for column in sa.inspect(connection).get_columns(name)}
    columns = ", ".join(f'"{column.name}"' for column in into.columns if column.name in present)
    connection.exec_driver_sql(
        f'INSERT INTO "{into.name}" ({columns}) SELECT {columns} FROM "{name}"'  # noqa: S608 - names of ours
    )


def _begin(connection: sa.Connection) -> None:
    """All or nothing: the driver begins no transaction for DDL by itself."""
    driver: Any = connection.connection.dbapi_connection
    if not getattr(driver, "in_transaction", True):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
