"""What systemd is told: a real socket in its place."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay


@pytest.mark.parametrize("arguments", [(), ("--processes", "1")])
def test_ready_and_alive(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """READY=1 when the worker runs, then signs of life until it is told to stop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        stage = make_stage(sqlite_database, relay.port)
        worker = stage.start(*arguments, ready=False, NOTIFY_SOCKET=str(tmp_path / "notify"))
        for wanted in (b"READY=1", b"WATCHDOG=1"):
            while wanted not in manager.recv(4096):  # or it raises TimeoutError
                pass
        worker.signal(signal.SIGTERM)
        assert worker.wait(60) == 0
