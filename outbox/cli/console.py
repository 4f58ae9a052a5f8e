"""Where people read: the width, height and colours of a terminal, plain whole lines in a pipe."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from outbox.cli.text import Text

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"


class Console:
    """A stream for people."""

    def __init__(self, stream: TextIO, *, size: tuple[int, int] | None = None) -> None:
        """`size`: columns and lines of the terminal that `stream` is to be taken for."""
        self.stream = stream
        self.is_terminal = size is not None or stream.isatty()
        self._size = size
        self._colours = self.is_terminal and _colours_wanted()

    @property
    def width(self) -> int:
        """The terminal's columns."""
        return self._measured()[0]

    @property
    def height(self) -> int:
        """The terminal's lines."""
        return self._measured()[1]

    def print(self, text: Text | str = "") -> None:
        """A line; on a terminal it is wrapped at a word."""
        text = Text(text) if isinstance(text, str) else text
        for line in text.wrapped(self.width) if self.is_terminal else (text,):
            self.print_line(line)

    def print_line(self, line: Text) -> None:
        """One line, not to be wrapped."""
        self.stream.write(self.rendered(line) + "\n")
        self.stream.flush()

    def rendered(self, line: Text) -> str:
        """With colours, if there are any."""
        return line.ansi() if self._colours else line.plain

    @contextmanager
    def full_screen(self) -> Iterator[FullScreen]:
        """The terminal's second screen; the first one is as it was afterwards."""
        self.stream.write(_ENTER)
        try:
            yield FullScreen(self)
        finally:
            self.stream.write(_LEAVE)
            self.stream.flush()

    def _measured(self) -> tuple[int, int]:
        return self._size or _size_of(self.stream)


class Frame(Console):
    """What is to be on the screen, for a terminal of this size."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._paper = io.StringIO()
        super().__init__(self._paper, size=size)

    @property
    def fits(self) -> bool:
        """Whether the screen has enough lines."""
        return len(self._paper.getvalue().splitlines()) <= self.height

    def lines(self) -> list[str]:
        """As much of it as the screen has lines; the last one says how much is missing."""
        lines = self._paper.getvalue().splitlines()
        if len(lines) <= self.height:
            return lines
        shown = self.height - 1
        note = Text(f"… {len(lines) - shown} more lines: enlarge the terminal to see them", "bold")
        return [*lines[:shown], self.rendered(note.cut(self.width))]


class FullScreen:
    """Frames that replace each other."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def frame(self) -> Frame:
        """An empty one of the terminal's present size."""
        return Frame((self._console.width, self._console.height))

    def show(self, frame: Frame) -> None:
        """Line by line, so that there is no blank screen in between."""
        out = self._console.stream
        out.write(_HOME + "\r\n".join(_TO_END_OF_LINE + line for line in frame.lines()) + _TO_END)
        out.flush()


def _size_of(stream: TextIO) -> tuple[int, int]:
    """As the shell says (COLUMNS, LINES), as the terminal says, else 80 × 24."""
    try:
        measured = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        measured = os.terminal_size((80, 24))
    asked = (os.environ.get("COLUMNS", ""), os.environ.get("LINES", ""))
    columns, lines = (
        int(word) if word.isdecimal() and int(word) else found for word, found in zip(asked, measured, strict=True)
    )
    return columns or 80, lines or 24


def _colours_wanted() -> bool:
    """No colours under NO_COLOR, nor on a terminal that has none."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("dumb", "unknown")
