"""The moment of a permit: MAIL is said then, over a connection that is open already."""

from __future__ import annotations

import threading
from collections.abc import Callable

HEAD_START_SECONDS = 0.1
"""How long before its moment a message is taken by an open connection: its content has to be read."""

OPENING_SECONDS = 1.0
"""The same for one that has to be opened."""


def early(*, is_open: bool, any_open: bool) -> float:
    """How long before its moment this connection may take a message: to open another is not worth it where one waits
    that is open."""
    if is_open:
        return HEAD_START_SECONDS
    return 0.0 if any_open else OPENING_SECONDS


class MissedError(Exception):
    """The moment is over, or will not be waited for; nothing was offered."""


class Moment:
    """Called right before MAIL: waits for the moment. Monotonic seconds."""

    def __init__(self, ready: float, until: float, monotonic: Callable[[], float], cutoff: threading.Event) -> None:
        """`cutoff`: nothing is waited for any more."""
        self._ready = ready
        self._until = until
        self._monotonic = monotonic
        self._cutoff = cutoff

    def __call__(self) -> None:
        """Raises MissedError."""
        while (left := self._ready - self._monotonic()) > 0:
            if self._cutoff.wait(left):
                raise MissedError
        if self._monotonic() > self._until:
            raise MissedError
