"""The outbox's tables in a new database, without compiling their statements for each test."""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa

from outbox.models import Base


def create_tables(engine: sa.Engine) -> None:
    """As `Base.metadata.create_all` does where there are none yet."""
    if engine.dialect.name != "sqlite":  # what the statements are may depend on the server's version
        Base.metadata.create_all(engine)
        return
    with engine.begin() as connection:
        for statement in _of_sqlite():
            connection.exec_driver_sql(statement)


@cache
def _of_sqlite() -> tuple[str, ...]:
    statements: list[str] = []

    def collect(ddl: sa.schema.ExecutableDDLElement, *args: object, **kwargs: object) -> None:
        statements.append(str(ddl.compile(dialect=engine.dialect)))

    engine = sa.create_mock_engine("sqlite://", collect)
    Base.metadata.create_all(engine, checkfirst=False)
    return tuple(statements)
