"""A worker's place among those of one supervisor, and how it says that it can run."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from outbox.core.clock import Debounce

_SIGN_SECONDS = 1.0  # between two signs of life of a child


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among those of one supervisor."""

    number: int  # from 0: its metrics' port is so much higher
    lifeline: int  # a descriptor that becomes readable when the supervisor has gone
    registered: Callable[[int], None]  # told the worker's id before anything is claimed
    alive: Callable[[], None]  # called several times a second while the process can run


def signs_of_life(words: Connection) -> Callable[[], None]:
    """Sends one by `words`, at most every second."""
    os.set_blocking(words.fileno(), False)  # a supervisor that does not listen must hold up nobody
    passes = Debounce(_SIGN_SECONDS).passes

    def alive() -> None:
        if passes():
            with suppress(BlockingIOError, BrokenPipeError):
                words.send(None)

    return alive
