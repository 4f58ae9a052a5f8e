"""SQLite's file is replaced under a running worker, as a restore does it: the worker goes on with the new one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress

import pytest

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, until


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("wake", ["true", "false"])
def test_a_restored_file_is_served(database: Database, relay: Relay, make_stage: MakeStage, wake: str) -> None:
    """Within seconds, and the log says so."""
    stage = make_stage(database, relay.port, OUTBOX_WAKE=wake)
    worker = stage.start()
    stage.send(1)
    stage.settle()
    stage.engine.dispose()
    path, copy = str(database.path), f"{database.path}.new"
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    os.replace(copy, path)
    for companion in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + companion)
    stage.send(3)
    until(lambda: len(relay.taken()) == 4, "sent from the new file", 20)
    stage.settle()
    assert "was replaced" in worker.log()
    assert stage.command("outbox-status").returncode == 0
