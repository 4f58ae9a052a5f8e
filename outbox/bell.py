"""Telling those who wait that something has changed; what, they see for themselves."""

from __future__ import annotations

import threading
from typing import Protocol


class Bell(Protocol):
    """Read `strokes`, look at what is waited for, then `wait(strokes, …)`: a stroke in between is not missed."""

    strokes: int

    def ring(self) -> None:
        """Wake all who wait. From any thread."""

    def wait(self, strokes: int, timeout: float) -> None:
        """Until it has been rung since it stood at `strokes`, or for `timeout` seconds; it may end sooner."""


class ThreadBell:
    """For threads."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self.strokes = 0

    def ring(self) -> None:
        with self._rung:
            self.strokes += 1
            self._rung.notify_all()

    def wait(self, strokes: int, timeout: float) -> None:
        with self._rung:
            self._rung.wait_for(lambda: self.strokes != strokes, timeout)
