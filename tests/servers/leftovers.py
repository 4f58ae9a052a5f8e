"""Processes that the tests have started and not ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import psutil

from tests.servers.process import polled

MARK = "STARTED_BY_TESTS"  # in the environment, which children inherit, and their children when they are orphans
OURS = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")  # Python's own; they end with this process
SECONDS = 30.0


def mark_children() -> None:
    """From here on the processes started by this one can be told from others, even as orphans."""
    os.environ[MARK] = str(os.getpid())


def left_over() -> list[str]:
    """What still runs `SECONDS` after the tests: command line and test. It is killed, for nobody else would."""
    with contextlib.suppress(TimeoutError), polled("all processes end", SECONDS) as wait_a_little:
        while any(_running()):
            wait_a_little()
    return [_killed(process) for process in _running()]


def _running() -> Iterator[psutil.Process]:
    children = set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marked = process.environ().get(MARK) == os.environ[MARK]
            if process.pid == os.getpid() or not (marked or process in children):
                continue
            command = " ".join(process.cmdline())
            helper = process.ppid() == os.getpid() and any(name in command for name in OURS)
            if process.status() != psutil.STATUS_ZOMBIE and not helper:
                yield process


def _killed(process: psutil.Process) -> str:
    try:
        words = " ".join(process.cmdline())[:300]
        test = process.environ().get("PYTEST_CURRENT_TEST", "no test")
        process.kill()
    except psutil.Error as error:
        return str(error)
    return f"{words} (pid {process.pid}, started by {test})"
