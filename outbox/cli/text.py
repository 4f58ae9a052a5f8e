"""Styled text: what it says, how wide a terminal shows it, cut and wrapped to a width."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import click

_WIDE = ("W", "F")
_NO_WIDTH = ("Mn", "Me", "Cf")
_EFFECTS = {"bold", "dim", "italic"}
_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


def cell_len(text: str) -> int:
    """How many columns a terminal needs for `text`: two for a wide character, none for a combining one."""
    return len(text) if text.isascii() else sum(map(_cells, text))


class Text:
    """Pieces of text, each with a style: words such as "bold red", "dim", "bright_black", in click's names."""

    def __init__(self, text: str = "", style: str = "") -> None:
        self._pieces: list[tuple[str, str]] = [(text, style)]

    @classmethod
    def assemble(cls, *pieces: str | tuple[str, str]) -> Text:
        """One text of several; a piece without a style is a string."""
        made = cls()
        for piece in pieces:
            made.append(*((piece,) if isinstance(piece, str) else piece))
        return made

    def append(self, text: str, style: str = "") -> Text:
        """Adds to its end; returns itself."""
        if self._pieces and self._pieces[-1][1] == style:
            text = self._pieces.pop()[0] + text
        self._pieces.append((text, style))
        return self

    def __add__(self, other: Text) -> Text:
        return Text.assemble(*self._pieces, *other._pieces)

    @property
    def plain(self) -> str:
        """Without styles."""
        return "".join(text for text, _ in self._pieces)

    @property
    def cell_len(self) -> int:
        """How many columns it needs on one line."""
        return cell_len(self.plain)

    def ansi(self) -> str:
        """With a terminal's colours."""
        return "".join(_styled(text, style) for text, style in self._pieces if text)

    def cut(self, width: int) -> Text:
        """Itself, or what fits into `width` columns with an ellipsis at its end."""
        if self.cell_len <= width:
            return self
        return Text.assemble(*next(_lines(list(self._characters()), max(width - 1, 0))), "…"[:width])

    def rstripped(self) -> Text:
        """Without white space at its end."""
        return Text.assemble(*_stripped(list(self._characters())))

    def wrapped(self, width: int) -> Iterator[Text]:
        """Its lines: broken at white space, and within a word that is wider than a line."""
        line: list[tuple[str, str]] = []
        used, broken = 0, False
        for word in self._words():
            if word[0][0] == "\n":
                yield Text.assemble(*_stripped(line))
                line, used, broken = [], 0, True
                continue
            needs = sum(_cells(character) for character, _ in word)
            if used + needs > width:
                if used:
                    yield Text.assemble(*_stripped(line))
                    line, used, broken = [], 0, True
                if word[0][0].isspace():
                    continue  # at the end of a line it is not seen
                *full, word = _lines(word, width)
                for part in full:
                    yield Text.assemble(*part)
                needs = sum(_cells(character) for character, _ in word)
            line += word
            used += needs
        if line or not broken:
            yield Text.assemble(*_stripped(line))

    def _characters(self) -> Iterator[tuple[str, str]]:
        for text, style in self._pieces:
            for character in text:
                yield character, style

    def _words(self) -> Iterator[list[tuple[str, str]]]:
        characters = list(self._characters())
        for found in _PIECES.finditer(self.plain):
            yield characters[found.start() : found.end()]


def _lines(characters: list[tuple[str, str]], width: int) -> Iterator[list[tuple[str, str]]]:
    """Cut into lines of at most `width` columns, at least one character each but for the first."""
    line: list[tuple[str, str]] = []
    used = 0
    for character, style in characters:
        if used + _cells(character) > width:
            yield line
            line, used = [], 0
        line.append((character, style))
        used += _cells(character)
    yield line


def _stripped(line: list[tuple[str, str]]) -> list[tuple[str, str]]:
    while line and line[-1][0].isspace():
        line = line[:-1]
    return line


def _cells(character: str) -> int:
    if unicodedata.east_asian_width(character) in _WIDE:
        return 2
    return 0 if unicodedata.category(character) in _NO_WIDTH else 1


def _styled(text: str, style: str) -> str:
    words = style.split()
    colour = next((word for word in words if word not in _EFFECTS), None)
    if not words:
        return text
    return click.style(text, fg=colour, **dict.fromkeys(set(words) & _EFFECTS, True))
