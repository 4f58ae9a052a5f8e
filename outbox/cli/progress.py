"""A line at the bottom of the terminal that says how far it has got."""

from __future__ import annotations

import io
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import TextIO

from outbox.cli.console import Console
from outbox.cli.text import Text
from outbox.core.clock import monotonic

INTERVAL_SECONDS = 0.1
BAR = 40
WHEEL = "-\\|/"

_CLEAR = "\r\x1b[K"


class Progress:
    """Drawn by a thread of its own, so that it moves while the work waits; what is written to stderr goes above it.

    `total`: how many there are; None: nobody knows, and a wheel turns. `keep`: the last of it stays on the terminal.
    `after`: seconds until it is first drawn.
    """

    def __init__(self, label: str, total: int | None = None, *, keep: bool = False, after: float = 0.0) -> None:
        self._label, self.total, self.done = label, total, 0
        self.at_least = False  # there are more than `total`: counting stopped there
        self._keep, self._after = keep, after
        self._stderr = sys.stderr
        self._console = Console(sys.stderr)
        self._ended = threading.Event()
        self._drawing = threading.Thread(target=self._draw_on, name="outbox-progress", daemon=True)
        self._begun = monotonic()
        self._turns = 0
        self._above = _Above(self._stderr)

    def __enter__(self) -> Progress:
        sys.stderr = self._above
        self._drawing.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._drawing.join()
        sys.stderr = self._stderr
        with suppress(OSError, ValueError):
            if self._keep:
                self._draw()
                self._above.leave()
            self._above.clear()
            self._stderr.flush()

    def line(self, width: int) -> Text:
        """It, at most `width` columns wide."""
        line = Text(self._label) if self._keep else Text(self._wheel(), "green").append(f" {self._label}")
        if self.total is None:
            return line.cut(width)
        figures = f" {self.done:,}/{self.total:,}{'+' if self.at_least else ''} {self._left()}"
        bar = max(0, min(BAR, width - line.cell_len - 1 - len(figures)))
        full = bar * min(self.done, self.total) // self.total if self.total else bar
        line.append(" ").append("#" * full, "green").append("-" * (bar - full), "dim")
        return line.append(figures).cut(width)

    def _wheel(self) -> str:
        return WHEEL[self._turns % len(WHEEL)]

    def _left(self) -> str:
        """How long it takes from here on, at the pace so far."""
        if not self.done or self.total is None or self.at_least:
            return "-:--:--"
        seconds = round(max(self.total - self.done, 0) * (monotonic() - self._begun) / self.done)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def _draw_on(self) -> None:
        pause = self._after
        while not self._ended.wait(pause):
            with suppress(OSError, ValueError):  # the terminal is gone: the work is not
                self._draw()
            pause = INTERVAL_SECONDS

    def _draw(self) -> None:
        self._turns += 1
        self._above.draw(self._console.rendered(self.line(self._console.width - 1)))


class _Above(io.TextIOBase):
    """Stderr meanwhile: what is written takes the progress away; it is drawn again below the next whole line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._drawn = self._within_a_line = False

    def write(self, text: str) -> int:
        """As of any stream."""
        with self._lock:
            self._clear()
            self._within_a_line = not text.endswith("\n") if text else self._within_a_line
            return self._stream.write(text)

    def draw(self, line: str) -> None:
        """The progress, unless the last line is not yet whole. The cursor goes back to where the next one begins."""
        with self._lock:
            if not self._within_a_line:
                self._stream.write(_CLEAR + line + "\r")
                self._stream.flush()
                self._drawn = True

    def leave(self) -> None:
        """Let what is drawn stay."""
        with self._lock:
            if self._drawn:
                self._stream.write("\n")
                self._drawn = False

    def clear(self) -> None:
        """Take away what is drawn."""
        with self._lock:
            self._clear()

    def flush(self) -> None:
        """As of any stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The terminal's."""
        return self._stream.fileno()

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write(_CLEAR)
            self._drawn = False
