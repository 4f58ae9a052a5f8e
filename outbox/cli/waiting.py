"""Something moves on the terminal where a person waits for more than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 1.0


@contextmanager
def waiting(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar, or a wheel, on stderr, on a terminal, after a second; yields what is to be told how many more are done.

    `total`: how many there are; None: nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda some: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    from outbox.cli.base import console

    figures = () if total is None else (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns = (SpinnerColumn("line"), TextColumn("{task.description}"), *figures)
    bar = Progress(*columns, console=console(stderr=True), transient=True)
    task = bar.add_task(label, total=total)
    timer = threading.Timer(PATIENCE_SECONDS, bar.start)
    timer.start()
    try:
        yield lambda some: bar.advance(task, some)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
