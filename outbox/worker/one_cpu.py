"""Keeps the threads of a worker on one processor, which is chosen again every few seconds. Linux only.

CPython runs one of them at a time. Spread over processors they pass its lock from one to another at each system call,
which costs more than the second processor gives (docs/decisions/0035).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_THREADS = Path("/proc/self/task")
_BUSY = ("outbox-claimer", "outbox-connection", "outbox-recorder", "outbox-transport")
_LOOK_SECONDS = 0.02  # for the kernel to spread the threads, so that one sees where there is room


class OneProcessor:
    """A duty: lets the threads go where the kernel wants them, then gathers them where most of them have run.

    Workers of one supervisor keep to different ones, as far as there are so many.
    """

    name = "choice of a processor"
    seconds = 5.0
    at_once = True

    def __init__(self, *, own: bool = True) -> None:
        """`own`: all threads of the process are the worker's."""
        self._numbers = _numbers if own else _named
        self._allowed = os.sched_getaffinity(0)
        self.chosen: int | None = None

    def run(self) -> None:
        """Choose, in 20 ms. Where the kernel does not let us, they stay spread."""
        with contextlib.suppress(OSError):
            self._keep_to(self._allowed)
            before = _run_times(self._numbers())
            time.sleep(_LOOK_SECONDS)
            ran = [number for number, seconds in _run_times(before).items() if seconds != before.get(number)]
            wanted = _where(ran)
            if self.chosen is not None:
                wanted[self.chosen] += 0  # else where nothing ran
            if not wanted:
                return
            self._choose(wanted, _taken_by_siblings())
            earlier = _taken_by_siblings(below=os.getpid())  # two may have chosen at once
            if self.chosen in earlier:
                self._choose(wanted, earlier)

    def _choose(self, wanted: Counter[int], taken: Counter[int]) -> None:
        """The one that fewest siblings have, and of these the most wanted."""
        self.chosen = min(self._allowed, key=lambda number: (taken[number], -wanted[number], number))
        self._keep_to({self.chosen})

    def _keep_to(self, processors: set[int]) -> None:
        for number in self._numbers():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(number, processors)


def is_of_use() -> bool:
    """Whether this is a system where it can be done, more than one processor, and an interpreter with one lock."""
    if not (hasattr(os, "sched_setaffinity") and _THREADS.is_dir()) or len(os.sched_getaffinity(0)) < 2:
        return False
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir(_THREADS)]


def _named() -> list[int]:
    """Those that claim, send and record; no others, since what they start stays where they are. With gevent there are
    none: all are the main thread."""
    named = (one.native_id for one in threading.enumerate() if one.name.startswith(_BUSY))
    return [number for number in named if number not in {None, os.getpid()}]


def _run_times(numbers: Iterable[int]) -> dict[int, str]:
    """By thread, what changes when it runs."""
    found = {}
    for number in numbers:
        with contextlib.suppress(OSError):
            found[number] = (_THREADS / str(number) / "schedstat").read_text().split()[0]
    return found


def _where(threads: list[int]) -> Counter[int]:
    """By processor, how many of these ran there last."""
    last: Counter[int] = Counter()
    for number in threads:
        with contextlib.suppress(OSError):
            after_name = (_THREADS / str(number) / "stat").read_text().rpartition(")")[2]
            last[int(after_name.split()[36])] += 1
    return last


def _taken_by_siblings(*, below: int | None = None) -> Counter[int]:
    """By processor, how many processes of the same parent keep to it: other workers of one supervisor. `below`: of
    those with a lower number alone."""
    taken: Counter[int] = Counter()
    parent, own = os.getppid(), os.getpid()
    with contextlib.suppress(OSError):
        for number in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
            if number != own and (below is None or number < below):
                taken.update(_kept_to(number))
    return taken


def _kept_to(process: int) -> set[int]:
    """The processors that threads of another process may not leave, of which each has one."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(ProcessLookupError):
                kept = os.sched_getaffinity(int(name))
                found |= kept if len(kept) == 1 else set()
    return found
