"""Runs a process, the real worker `manage.py outbox-sender` for one, and measures it from outside.

Time: from the first to the last message that the sink accepted, so that the start of the process does not count. CPU:
user and system time of the process, less that of one with nothing to do. Memory: the highest resident size of the
process (VmHWM), with its children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LOOK_SECONDS = 0.05
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took."""

    cpu: float  # seconds, user and system
    memory: float  # MB, highest


class Process:
    """A running process, the worker for one."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        """What it prints goes to the file `log`, as a service's does."""
        self._log = log
        self._name = " ".join(command[1:4])
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={"PATH": os.environ.get("PATH", os.defpath), **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.pid = self._process.pid
        self._cost: Cost | None = None
        self._memory = 0.0

    def wait(
        self, until: Callable[[], bool] = lambda: False, *, seconds: float = 600.0, look: float = _LOOK_SECONDS
    ) -> bool:
        """Wait until `until()` is true, looking every `look` seconds, or it has ended: whether it still runs.

        Raises TimeoutError after `seconds`, RuntimeError if it failed.
        """
        deadline = time.monotonic() + seconds
        while not self._ended():
            if until():
                return True
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._name} was not done within {seconds:.0f} s: {self.last_words()}")
            time.sleep(look)
        return False

    def stop(self, seconds: float = _STOP_SECONDS) -> Cost:
        """End it in good order (killed after `seconds`), if it has not ended: what it took."""
        if self._cost is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self.wait(seconds=seconds)
            except TimeoutError:
                self._process.kill()
                self._process.returncode = os.wait4(self._process.pid, 0)[1]
                raise
        assert self._cost is not None
        return self._cost

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1000:]

    def _ended(self) -> bool:
        if self._cost is not None:
            return True
        self._memory = max(self._memory, sum(map(_peak, _family(self._process.pid))))
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if pid == 0:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._cost = Cost(usage.ru_utime + usage.ru_stime, self._memory)
        if self._process.returncode:
            raise RuntimeError(f"{self._name} ended with code {self._process.returncode}: {self.last_words()}")
        return True


def worker(environ: Mapping[str, str], log: Path, *arguments: str) -> Process:
    """A worker; `arguments` of `outbox-sender`."""
    return Process([sys.executable, "manage.py", "outbox-sender", *arguments], environ, log)


def printed(*arguments: str) -> str:
    """What Python prints when it is run with `arguments`."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@contextmanager
def running(process: Process) -> Iterator[Process]:
    """It is stopped at the end."""
    try:
        yield process
    finally:
        process.stop()


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return
    for child in children:
        yield from _family(int(child))


def _peak(pid: int) -> float:
    """MB. Not `ru_maxrss`, which counts what the parent had in memory when it started the process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:")), 0.0)
