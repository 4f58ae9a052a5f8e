"""A table of HTML as lines of text: columns, where it holds data; None where it only lays out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

MOST_COLUMNS = 30
_GAP = "  "
_WIDEST = 72  # of all columns but the last, which is not padded
_MOST_LINES = 4  # of one cell
_NUMBER = re.compile(r"[-+\u2212]?\s?[€$£¥]?\s?\d[\d.,'\u2019\u00a0\u202f ]*\s?(?:[€$£¥%]|[A-Z]{3})?")


@dataclass(slots=True)
class Table:
    """What is known of a table while its tags go by."""

    start: int | None = None  # where its first row begins in what is written
    owed: int = 0  # line ends before it
    bulleted: bool = False  # it stands beside a bullet
    lists: int = 0  # those that were open before it
    is_layout: bool = False
    has_heads: bool = False
    rows: list[list[str]] = field(default_factory=list)
    cell: int | None = None  # where the open cell begins
    span: int = 1  # its columns
    down: int = 0  # its further rows
    below: dict[int, int] = field(default_factory=dict)  # columns that cells of earlier rows take, and for how long

    def new_row(self) -> None:
        """A row begins."""
        self.rows.append([])
        self._pass_taken()

    def close_cell(self, text: str) -> None:
        """The open cell holds `text`."""
        self.cell = None
        if not self.rows:
            self.new_row()
        row = self.rows[-1]
        for extra in range(self.span):
            if self.down:
                self.below[len(row)] = self.down
            row.append("" if extra else text)
        self._pass_taken()
        if len(row) > MOST_COLUMNS:
            self.is_layout = True

    def _pass_taken(self) -> None:
        row = self.rows[-1]
        while self.below.get(len(row)):
            self.below[len(row)] -= 1
            row.append("")


def columns(table: Table) -> str | None:
    """The lines of `table`; None where it lays out, or is too wide."""
    rows = [[cell.split("\n") for cell in row] for row in table.rows if any(row)]
    count = max((len(row) for row in rows), default=0)
    if table.is_layout or count < 2 or (len(rows) < 2 and not table.has_heads):
        return None
    if any(len(cell) > _MOST_LINES for row in rows for cell in row):
        return None
    widths = [max((_width(line) for row in rows if n < len(row) for line in row[n]), default=0) for n in range(count)]
    if sum(widths[:-1]) + len(_GAP) * (count - 1) > _WIDEST:
        return None
    right = [_are_numbers(row[n] for row in rows if n < len(row)) for n in range(count)]
    return "\n".join(line for row in rows for line in _lines(row, widths, right))


def _lines(row: Sequence[list[str]], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    lines = []
    for pieces in zip_longest(*row, fillvalue=""):
        padded = []
        for piece, width, is_right in zip(pieces, widths, right, strict=False):
            room = " " * (width - _width(piece))
            padded.append(room + piece if is_right else piece + room)
        lines.append(_GAP.join(padded).rstrip(" "))
    return lines


def _are_numbers(cells: object) -> bool:
    """Whether they stand below one another at their ends; the head of the column may be a word."""
    texts = [cell[0] for cell in cells if cell[0]]  # type: ignore[attr-defined]
    return bool(texts[-1:]) and all(_NUMBER.fullmatch(text) for text in (texts[1:] or texts))


def _width(text: str) -> int:
    """In columns of a terminal: those of Chinese, Japanese and Korean are two wide, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(one) or unicodedata.category(one) == "Cf"
        else 2
        if unicodedata.east_asian_width(one) in "WF"
        else 1
        for one in text
    )
