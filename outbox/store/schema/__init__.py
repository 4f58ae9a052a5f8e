"""The outbox's tables as numbered versions, to be called from any Alembic history.

    # in a migration of the application
    import outbox.schema

    def upgrade() -> None:
        outbox.schema.upgrade(op, version=1)

    def downgrade() -> None:
        outbox.schema.downgrade(op, version=0)

So the application's own history stays one line. A later release of the package that needs more says so in its
changelog, and `missing()` (the `outbox-check` command) tells what a database lacks. `include_name` keeps Alembic's
autogenerate away from the tables. Without Alembic: `create` and `drop`, or `follow` for `create_all` and `drop_all`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from outbox.core.errors import SchemaError
from outbox.store import (  # noqa: F401 - their tables belong to Base.metadata
    batch_model,
    digest_model,
    dkim_model,
    effect_model,
    event_models,
    rate_models,
)
from outbox.store.models import Base, OutboxSchema, table_of
from outbox.store.schema import version1
from outbox.store.schema.lacking import lacking, words
from outbox.store.transport_model import OutboxTransport  # noqa: F401 - a table of `Base.metadata`

LATEST = 1
"""The version that this release needs."""

REMEDY = (
    "Run `flask outbox-create-tables`. Where Alembic or Flask-Migrate keeps the database's history, add a migration "
    f"that calls outbox.schema.upgrade(op, version={LATEST}) instead (docs/migrations.md), then `alembic upgrade head` "
    "or `flask db upgrade`."
)
FLASK_MIGRATE_REMEDY = (
    f"Add a migration that calls outbox.schema.upgrade(op, version={LATEST}) (`flask db revision`, see "
    "docs/migrations.md), then run `flask db upgrade`."
)
"""The half of it for an application that is known to have Flask-Migrate."""

REPAIR = "Add a migration that calls outbox.schema.repair(op), see docs/migrations.md."
"""What to do about a lost index or constraint."""

_record = table_of(OutboxSchema)


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next, and back. Each `upgrade` leaves alone what is there, so that it can be repeated."""

    upgrade: Callable[[Any], None]
    downgrade: Callable[[Any], None]
    compatible: int | None = None  # releases that need only this version work with the tables after it as well


STEPS = {1: Step(version1.upgrade, version1.downgrade)}


def upgrade(op: Any, version: int | None = None, *, since: int | None = None) -> None:
    """Take the database from its recorded version to `version`, by default the newest, step by step.

    `op`: Alembic's `op` module, or an `Operations` object. A database that has the version already is left as it is.
    `since`: the version it has, where it can't be asked (`alembic upgrade --sql`); by default what this run has made.
    """
    target = _known(LATEST if version is None else version)
    for number in range(_version(op, since, 0) + 1, target + 1):
        STEPS[number].upgrade(op)
        _write(op, number)


def downgrade(op: Any, version: int = 0, *, since: int | None = None) -> None:
    """Undo every version above `version`. Mail in the tables that this removes is lost; 0 removes them all."""
    target = _known(version)
    for number in range(_version(op, since, LATEST), target, -1):
        STEPS[number].downgrade(op)
        _write(op, number - 1)


def repair(op: Any) -> None:
    """Create what the database lacks of the version that it has: a lost index, a lost constraint."""
    for number in range(1, _version(op, None, LATEST) + 1):
        STEPS[number].upgrade(op)


def create(connection: sa.Connection) -> list[str]:
    """Bring the database's tables to this release's version, as migrations would; what was missing.

    For a database without Alembic, and one that gets it later: a migration that calls `upgrade` finds them done. The
    caller commits.
    """
    lacked = missing(connection)
    if lacked:
        op = _operations(connection)
        upgrade(op)
        repair(op)
    return lacked


def drop(connection: sa.Connection) -> None:
    """Drop the tables, with all mail in them. The caller commits."""
    for table in reversed(Base.metadata.sorted_tables):
        connection.execute(sa.schema.DropTable(table, if_exists=True))


def follow(metadata: sa.MetaData) -> None:
    """Let `metadata.create_all()` and `drop_all()` create and drop the outbox's tables as well.

    For applications and tests that make their tables so: `outbox.schema.follow(db.metadata)`, once. Alembic does not
    see it.
    """
    if not sa.event.contains(metadata, "after_create", _created):
        sa.event.listen(metadata, "after_create", _created)
        sa.event.listen(metadata, "after_drop", _dropped)


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """For Alembic's `include_name=`: autogenerate leaves the outbox's tables alone, instead of dropping them.

    `Migrate(app, db, include_name=outbox.schema.include_name)`, or in `env.py`
    `context.configure(…, include_name=outbox.schema.include_name)`.
    """
    return type_ != "table" or name not in Base.metadata.tables


def missing(connection: sa.Connection) -> list[str]:
    """What the package needs and the database lacks, sorted: tables, columns (`table.column`), indexes, constraints.

    Where the recorded version is too old, that comes first. Raises SchemaError where it is newer than this release.
    """
    found = words(lacking(connection, Base.metadata))
    version = None if _record.name in found else check_version(connection)
    if version is not None and version < LATEST:
        return [f"version {LATEST} of the outbox's tables (it has version {version})", *found]
    return found


def check_version(connection: sa.Connection) -> int | None:
    """The recorded version, None where there is none. Raises SchemaError where this release does not know it."""
    row = connection.execute(sa.select(_record)).first()
    if row is None:
        return None
    if row.version > LATEST and (row.compatible is None or row.compatible > LATEST):
        raise SchemaError(
            f"The outbox's tables have version {row.version}, and this release knows them up to version {LATEST}: a "
            "newer release has migrated the database. Upgrade the package flask-outbox here."
        )
    return int(row.version)


def _operations(connection: sa.Connection) -> Any:
    from alembic.migration import MigrationContext  # not at the top: it is slow to import, and most have no need of it
    from alembic.operations import Operations

    return Operations(MigrationContext.configure(connection))


def _created(target: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    create(connection)


def _dropped(target: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    drop(connection)


_emitted: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""By Alembic's context, with `--sql`: the version after the statements written so far."""


def _version(op: Any, since: int | None, otherwise: int) -> int:
    """The version that the database has. `otherwise`: where it can't be asked, and nothing was written yet."""
    context = op.get_context()
    if context.as_sql:
        return _emitted.get(context, otherwise) if since is None else since
    connection = op.get_bind()
    if sa.inspect(connection).has_table(_record.name):
        row = connection.execute(sa.select(_record.c.version)).first()
        if row is not None:
            return int(row.version)
    lacks = lacking(connection, Base.metadata)
    if lacks:
        return 0  # there are none, or those from before the first release
    _write(op, LATEST)  # made by `create_all`
    return LATEST


def _write(op: Any, version: int) -> None:
    context = op.get_context()
    if context.as_sql:
        _emitted[context] = version
    if version == 0:
        return  # the record went with the tables
    op.execute(_record.delete())
    op.execute(
        _record.insert().values(version=version, compatible=STEPS[version].compatible if version in STEPS else None)
    )


def _known(version: int) -> int:
    if version != 0 and version not in STEPS:
        raise ValueError(f"outbox.schema has no version {version}; there are {[0, *sorted(STEPS)]}")
    return version
