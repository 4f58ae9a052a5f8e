"""Runs several processes as one: each line of output begins with the process's name, and all end together.

Each child has a session of its own, so that Ctrl-C reaches this process alone and each child gets exactly one signal:
a worker takes a second one as "at once".
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 40.0  # a worker's own grace (OUTBOX_SHUTDOWN_SECONDS) and a little more
READY_SECONDS = 60.0
SAME_SECONDS = 1.0  # signals so close after the first are the same wish
WIDTH = 8

_printing = threading.Lock()


class Child:
    """One process and the thread that reads its output."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path, changed: threading.Event):
        self.name = name
        self.process = subprocess.Popen(
            _ended_with_parent(command),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._changed = changed
        self._reader = threading.Thread(target=self._read, name=f"read-{name}")
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def join(self) -> None:
        """Waits, after the process has ended, until all its output is printed."""
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                say(self.name, line.rstrip())
        self.process.wait()
        self._changed.set()


class Supervisor:
    """Starts children, waits until one ends or a signal comes, then stops all: the last started first."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self._env = env
        self._cwd = cwd
        self._children: list[Child] = []
        self._changed = threading.Event()
        self._signals = 0
        self._signalled_at = 0.0
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._signalled)

    @property
    def stopping(self) -> bool:
        return self._signals > 0

    def run(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> bool:
        """Runs one command to its end. Returns False if it failed or a stop was requested."""
        done = subprocess.run(
            _ended_with_parent(command),
            env={**self._env, **(env or {})},
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        if done.returncode:
            for line in done.stdout.splitlines():
                say(name, line)
            say(name, f"failed with exit code {done.returncode}")
        return done.returncode == 0 and not self.stopping

    def start(self, name: str, command: Sequence[str], port: int | None = None) -> bool:
        """Starts a child and waits until it listens on `port`. Returns False if it ended or a stop was requested."""
        child = Child(name, command, self._env, self._cwd, self._changed)
        self._children.append(child)
        deadline = time.monotonic() + READY_SECONDS
        while port is not None and not _listens(port):
            if child.ended or self.stopping:
                return False
            if time.monotonic() > deadline:
                say(name, f"does not answer on port {port}")
                return False
            time.sleep(0.05)
        return not self.stopping

    def wait(self) -> None:
        """Waits until a child ends or a signal comes."""
        while not self.stopping and not any(child.ended for child in self._children):
            self._changed.wait()
            self._changed.clear()

    def stop(self) -> int:
        """Stops all running children; returns 0 if a stop was requested and all ended as they should."""
        failed = not self.stopping
        for child in self._children:
            if child.ended:
                failed = failed or child.process.returncode != 0
                say(child.name, f"ended with exit code {child.process.returncode}; stopping the rest")
        for child in reversed(self._children):
            failed = not self._end(child) or failed
        return 1 if failed else 0

    def _end(self, child: Child) -> bool:
        """Asks the child to stop, kills it if it does not or at a second signal. True if it stopped by itself."""
        already = child.ended
        if not already:
            child.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while not child.ended:
            if self._signals > 1 or time.monotonic() > deadline:
                say(child.name, "killed")
                child.process.kill()
                break
            self._changed.wait(0.2)
            self._changed.clear()
        child.join()
        return already or child.process.returncode in (0, -signal.SIGTERM)

    def _signalled(self, signum: int, frame: FrameType | None) -> None:
        # a SIGTERM to the group comes twice and more: make passes on what it gets itself
        if self._signals and time.monotonic() - self._signalled_at < SAME_SECONDS:
            return
        self._signalled_at = time.monotonic()
        self._signals += 1
        self._changed.set()


def say(name: str, line: str) -> None:
    """Prints one line of output after the name of its process."""
    with _printing:
        print(f"{name:<{WIDTH}}| {line}", flush=True)


def python(*words: object) -> list[str]:
    """Returns a command that runs under this interpreter."""
    return [sys.executable, *(str(word) for word in words)]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ended_with_parent(command: Sequence[str]) -> list[str]:
    """On Linux, a child gets a signal to stop even if this process is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else list(command)
