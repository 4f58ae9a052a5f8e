"""Processes that stand still for a while: alive, but not running."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """Stops these processes, and lets them run again at the end. Any of them may have ended by then, or before."""
    pids = list(pids)
    try:
        _signal(pids, signal.SIGSTOP)
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
