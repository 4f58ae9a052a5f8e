"""The application of the stories as later releases would have it: with one or two more versions of the tables.

STORY_SCHEMA=2 is the next release: it fills a column that it adds. STORY_SCHEMA=3, the one after it, can't do without.
"""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy as sa
from flask import Flask

from outbox import schema
from outbox.models import OutboxWorker, table_of
from outbox.store import schema as versions
from tests.story import worker_app

_TABLE, _PLACE = "outbox_worker", "place"


def create_app() -> Flask:
    """An application of the release that STORY_SCHEMA names."""
    release(int(os.environ["STORY_SCHEMA"]))
    return worker_app.create_app()


def release(version: int) -> None:
    """Makes this process one of a later release."""
    steps = {2: schema.Step(_expand, _none, compatible=1), 3: schema.Step(_contract, _none, compatible=2)}
    versions.STEPS.update({number: step for number, step in steps.items() if number <= version})
    versions.LATEST = version
    table = table_of(OutboxWorker)
    if _PLACE not in table.columns:
        table.append_column(sa.Column(_PLACE, sa.String(64), default="cellar", nullable=version < 3))


def _expand(op: Any) -> None:
    if _PLACE not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(_TABLE)}:
        op.add_column(_TABLE, sa.Column(_PLACE, sa.String(64)))


def _contract(op: Any) -> None:
    op.execute(sa.text(f"UPDATE {_TABLE} SET {_PLACE} = 'unknown' WHERE {_PLACE} IS NULL"))
    op.alter_column(_TABLE, _PLACE, existing_type=sa.String(64), nullable=False)


def _none(op: Any) -> None:
    """Nobody goes back here."""
