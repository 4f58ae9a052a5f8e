"""What most tests of the queue need."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.servers.databases import Database


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    """The database as a worker sees it."""
    return database.worker_engine
