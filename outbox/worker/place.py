"""A worker's place: alone in its process, a child of a supervisor, or in the process of a web server."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from outbox.core.clock import Debounce
from outbox.core.shutdown import Stop
from outbox.worker.watchdog import end_process

_SIGN_SECONDS = 1.0  # between two signs of life


def _nothing(*_: Any) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker has to do with the process that it runs in. By default that is its own."""

    own: bool = True  # nothing but the worker runs in it
    number: int = 0  # among those of one supervisor, from 0: its metrics' port is so much higher
    stop: Stop = field(default_factory=Stop)  # ends the worker
    grace: float = math.inf  # seconds that a stop may take, where that is less than the settings say
    registered: Callable[[int], None] = _nothing  # told the worker's id before anything is claimed
    alive: Callable[[], None] = _nothing  # called several times a second while the process can run
    leave: Callable[[int, str | None], None] = end_process  # what hangs can't be joined: it is left alone


def signs_of_life(words: Connection) -> Callable[[], None]:
    """Sends one by `words`, at most every second."""
    os.set_blocking(words.fileno(), False)  # a supervisor that does not listen must hold up nobody

    def say() -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            words.send(None)

    return now_and_then(say)


def now_and_then(say: Callable[[], None]) -> Callable[[], None]:
    """What may be called as often as one likes, and says it at most every second."""
    passes = Debounce(_SIGN_SECONDS).passes
    return lambda: say() if passes() else None
