"""Windows has no poll, no fork, no Unix sockets: commands and the worker do without them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import COMMAND, ROOT, Relay, plain_environment, until

PREFIX = [sys.executable, "-m", "tests.servers.without_posix"]


def test_a_worker_sends(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """It starts, finds mail that comes while it runs, and stops when it is told to."""
    stage = make_stage(sqlite_database, relay.port)
    stage.send(2)
    worker = stage.start(prefix=PREFIX)
    assert stage.settle() == {"sent": 2}
    ids = stage.send(3)
    until(lambda: set(ids) <= {one.id for one in relay.taken()}, "the rest arrives")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0, worker.log()
    assert "Traceback" not in worker.log()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("outbox-check",), 0, "No fault found"),
        (("outbox-status",), 1, "no worker is alive"),
        (("outbox-sender", "--once"), 0, ""),
        (("outbox-sender", "--processes", "2"), 2, "needs fork(), which this system lacks"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_commands(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, words: tuple[str, ...], code: int, said: str
) -> None:
    """They do what they are for, or say what the system lacks."""
    stage = make_stage(sqlite_database, relay.port)
    stage.send()
    environ = {**plain_environment(), **stage.environ}
    done = subprocess.run(
        [*PREFIX, sys.executable, "-m", *COMMAND, *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == code, done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())
