"""Progress on the terminal while a person waits for more than a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from outbox.cli.progress import Progress

PATIENCE_SECONDS = 1.0


@contextmanager
def waiting(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar, or a wheel, on stderr, on a terminal, after a second; yields what is to be told how many more are done.

    `total`: how many there are; None: nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda some: None
        return
    with Progress(label, total, after=PATIENCE_SECONDS) as bar:

        def told(some: int) -> None:
            bar.done += some

        yield told
