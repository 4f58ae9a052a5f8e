"""A rolling upgrade under load: workers of two releases on one database, whose tables are expanded, then contracted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers import forked
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import ROOT, CommandWorker, Relay, Stage, plain_environment, until

CONNECTIONS = 2
MAILS = 300
NEXT = "tests.story.next_release"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path, delay=0.02) as relay:
        yield relay


@contextmanager
def load(stage: Stage) -> Iterator[list[str]]:
    """Mail after mail, each committed by itself, throughout the block and until there are MAILS; their Message-IDs."""
    ids: list[str] = []
    over = threading.Event()

    def enqueue() -> None:
        while len(ids) < MAILS or not over.wait(0.01):
            ids.extend(stage.send())

    thread = threading.Thread(target=enqueue)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()


class Releases:
    """Starts what a deployment starts of each release."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def migrate(self, version: int) -> None:
        """The command of that release."""
        environ = {**plain_environment(), **self._stage.environ, "STORY_SCHEMA": str(version)}
        done = forked.run(["flask", "--app", NEXT, "outbox-create-tables"], cwd=ROOT, env=environ, timeout=60)
        assert done.returncode == 0, done.stderr

    def worker(self, version: int, *, ready: bool = True) -> CommandWorker:
        """A worker of that release."""
        stage = self._stage
        if version == 1:
            return stage.start(ready=ready)
        log = stage.folder / f"worker-{len(stage.workers)}.log"
        worker = CommandWorker({**stage.environ, "STORY_SCHEMA": str(version)}, log, app=NEXT)
        stage.workers.append(worker)
        if ready:
            until(lambda: stage.row(worker), f"worker {worker.pid} starts; its log: {log}")
        return worker


def places(stage: Stage) -> set[str | None]:
    """What the workers' rows have in the next release's column."""
    with stage.engine.connect() as connection:
        return set(connection.execute(sa.text("SELECT place FROM outbox_worker")).scalars())


@pytest.mark.databases("postgresql")
@pytest.mark.quick("postgresql")
def test_expand_then_contract_under_load(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Workers of both releases share the queue, some are killed; nothing is lost, and nobody works on tables that he
    does not know: neither who comes then, nor who was there."""
    stage = make_stage(database, relay.port, OUTBOX_CONNECTIONS=str(CONNECTIONS))
    assert stage.command("outbox-create-tables").returncode == 0
    with stage.engine.begin() as connection:  # `create_all` has made the tables, and writes no version
        connection.execute(sa.text("INSERT INTO outbox_schema (version) VALUES (1)"))
    releases = Releases(stage)
    too_new = releases.worker(2, ready=False)
    assert too_new.wait(30) == 2
    assert "have version 1, too old for this release" in too_new.log()

    with load(stage) as ids:
        old = [releases.worker(1) for _ in range(3)]
        until(lambda: stage.states()["sent"] > 20, "the old ones send")
        releases.migrate(2)
        new = [releases.worker(2)]
        old[0].signal(signal.SIGKILL)
        old[1].signal(signal.SIGTERM)
        assert old[1].wait(30) == 0, old[1].log()
        late = releases.worker(1)  # one that was started again meanwhile
        new.append(releases.worker(2))
        new[0].signal(signal.SIGKILL)
        assert places(stage) == {None, "cellar"}

        releases.migrate(3)
        for worker in (old[2], late):  # nobody has stopped them, as one should
            assert worker.wait(30) == 1, worker.log()
            assert "have version 3, and this release knows them up to version 1" in worker.log()
        refused = releases.worker(1, ready=False)
        assert refused.wait(30) == 2
        assert "Upgrade the package flask-outbox here" in refused.log()
        newest = releases.worker(3)
        before = len(ids)
        until(lambda: len(ids) > before + 20, "mail is enqueued")

    assert stage.settle() == {"sent": len(ids)}
    assert not new[1].dead
    assert not newest.dead
    copies = relay.copies()
    assert {id for id, _ in copies} == set(ids)
    assert sum(copies.values()) - len(ids) <= 2 * CONNECTIONS
    assert "Traceback" not in stage.logs()
