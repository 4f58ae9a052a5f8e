"""Insert a row unless another transaction was first, on every database, and know which of the two it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from outbox.store.databases import Database, of
from outbox.store.models import new_id


def once(database: Database, table: sa.Table, unique: Sequence[str], computed: Mapping[str, Any]) -> Any:
    """The statement for `inserted`. `computed`: columns that come of nothing that is given. To be built once."""
    if not database.returns_new_rows:
        return table.insert().values(computed)
    return database.insert_unless_there(table, unique).values(computed).returning(table.c.id)


def inserted(connection: sa.Connection, statement: Any, values: Mapping[str, Any]) -> int | None:
    """The id of the new row; None where there is one with the same key. Waits for a transaction that holds the key."""
    database = of(connection)
    if database.returns_new_rows:
        pk = connection.execute(statement, values).scalar()
        return None if pk is None else int(pk)
    try:
        return new_id(connection.execute(statement, values))
    except sa.exc.IntegrityError as error:
        if not database.is_duplicate(error):
            raise
        return None
