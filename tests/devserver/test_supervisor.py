"""The supervisor of `make run`, over real processes and signals."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers.process import kill_with_children, polled

SUPERVISE = """
import os, sys
from pathlib import Path
from devserver.supervisor import Supervisor, python
supervisor = Supervisor(os.environ, Path.cwd())
for number, script in enumerate(sys.argv[1:]):
    supervisor.start(f"child{number}", python("-u", "-c", script))
supervisor.wait()
sys.exit(supervisor.stop())
"""
POLITE = """
import signal, sys, time
def leave(signum, frame):
    print("got", signal.Signals(signum).name, flush=True)
    time.sleep(0.3)
    sys.exit(0)
for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, leave)
print("pid", __import__("os").getpid())
signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("no"))
print("pid", __import__("os").getpid())
while True:
    signal.pause()
"""
FAILING = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
print("pid", __import__("os").getpid())
signal.pause()
"""


class Supervised:
    """A supervisor in a session of its own, so that a test can press Ctrl-C."""

    def __init__(self, *scripts: str) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, *scripts],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.pids = [int(self.wait_for(rf"child{number} *\| pid (\d+)")[1]) for number in range(len(scripts))]

    def wait_for(self, pattern: str) -> re.Match[str]:
        with polled(f"{pattern!r} is said", 20) as wait_a_little:
            while not (match := re.search(pattern, "\n".join(self.said))):
                wait_a_little()
        return match

    def end(self) -> int:
        """Its exit code; by then no child may be left."""
        code = self.process.wait(20)
        self._reader.join()
        assert not any(psutil.pid_exists(pid) for pid in self.pids), self.said
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            kill_with_children(self.process.pid)
        self.process.wait()
        kill_with_children(*self.pids)
        self._reader.join()

    def children_are_gone(self) -> bool:
        return not any(psutil.pid_exists(pid) for pid in self.pids)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(line.rstrip())


@pytest.fixture
def supervise() -> Iterator[type[Supervised]]:
    started: list[Supervised] = []

    def start(*scripts: str) -> Supervised:
        started.append(Supervised(*scripts))
        return started[-1]

    yield start  # type: ignore[misc]
    for supervised in started:
        supervised.close()


def test_ctrl_c_reaches_each_child_once(supervise: type[Supervised]) -> None:
    """Ctrl-C goes to the whole foreground group; each child still gets one signal, the last started first, and ends."""
    supervised = supervise(POLITE, POLITE)
    os.killpg(supervised.process.pid, signal.SIGINT)
    assert supervised.end() == 0
    assert [line for line in supervised.said if "got" in line] == ["child1  | got SIGTERM", "child0  | got SIGTERM"]


def test_a_sigterm_to_the_group_is_one_wish(supervise: type[Supervised]) -> None:
    """It comes several times, from make too: all end as they should, and nothing failed."""
    supervised = supervise(POLITE, POLITE)
    for _ in range(3):
        os.killpg(supervised.process.pid, signal.SIGTERM)
    assert supervised.end() == 0
    assert not [line for line in supervised.said if "killed" in line]


def test_a_second_signal_kills(supervise: type[Supervised]) -> None:
    """A child that does not end is not waited for when the signal comes again; that is a failure."""
    supervised = supervise(POLITE, STUBBORN)
    supervised.process.send_signal(signal.SIGTERM)
    supervised.wait_for(r"child1 *\| no")
    with polled("the second signal is one of its own", 20.0) as wait_a_little:
        while "child1  | killed" not in supervised.said:
            supervised.process.send_signal(signal.SIGTERM)
            wait_a_little()
    assert supervised.end() == 1
    assert "child1  | killed" in supervised.said


def test_a_child_that_fails_ends_the_others(supervise: type[Supervised]) -> None:
    """The exit code of the whole is an error, and what happened is said."""
    supervised = supervise(POLITE, FAILING)
    os.kill(supervised.pids[1], signal.SIGUSR1)
    assert supervised.end() == 1
    assert "child1  | ended with exit code 3; stopping the rest" in supervised.said


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Linux)")
def test_children_end_with_a_killed_supervisor(supervise: type[Supervised]) -> None:
    """Even `kill -9` leaves nothing running."""
    supervised = supervise(POLITE, POLITE)
    supervised.process.kill()
    with polled("the children end", 20) as wait_a_little:
        while not supervised.children_are_gone():
            wait_a_little()
