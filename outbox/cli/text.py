"""Styled text: what it says, how wide a terminal shows it, cut and wrapped to a width."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import click

_WIDE = ("W", "F")
_NO_WIDTH = ("Mn", "Me", "Cf")
_EFFECTS = {"bold", "dim", "italic"}
_WORDS = re.compile(r"\s+|\S+")
_HANGING = re.compile(r" *- ")
"""What an item of a list begins with; its other lines are indented as far."""

_JOINTS = frozenset("-/@.,:;=&?_+|")
"""After these a word is broken that is wider than a line: an address, a URL."""


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
        """Its lines: broken at white space, and within a word only where that is wider than a line."""
        paragraphs: list[list[tuple[str, str]]] = [[]]
        for character in self._characters():
            if character[0] == "\n":
                paragraphs.append([])
            else:
                paragraphs[-1].append(character)
        if len(paragraphs) > 1 and not paragraphs[-1]:
            paragraphs.pop()
        for paragraph in paragraphs:
            for line in _wrapped(paragraph, width):
                yield Text.assemble(*_stripped(line))

    def _characters(self) -> Iterator[tuple[str, str]]:
        for text, style in self._pieces:
            for character in text:
                yield character, style


def _wrapped(paragraph: list[tuple[str, str]], width: int) -> Iterator[list[tuple[str, str]]]:
    """The lines of what has no line break."""
    plain = "".join(character for character, _ in paragraph)
    found = _HANGING.match(plain)
    indent = 0 if found is None or found.end() > width // 2 else found.end()
    hanging = [(" ", "")] * indent
    line: list[tuple[str, str]] = []
    begun = used = 0  # columns: of what is before the line's first word, and of all of it
    ended = False  # whether a line was given
    for at in _WORDS.finditer(plain):
        word = paragraph[at.start() : at.end()]
        if used + _width(word) > width:
            if used > begun:
                yield line
                line, begun, used, ended = [*hanging], indent, indent, True
            if word[0][0].isspace():
                continue  # at the end of a line it is not seen
            *full, word = _broken(word, max(width - used, 1))
            for part in full:
                yield line + part
                line, begun, used, ended = [*hanging], indent, indent, True
        line = line + word
        used += _width(word)
    if used > begun or not ended:
        yield line


def _broken(word: list[tuple[str, str]], width: int) -> Iterator[list[tuple[str, str]]]:
    """A word in pieces of at most `width` columns, broken at its joints where these are not far."""
    while _width(word) > width:
        part = next(_lines(word, width))
        joint = max((at for at, (character, _) in enumerate(part, 1) if character in _JOINTS), default=0)
        end = joint if 2 * joint >= len(part) else len(part)
        yield word[: max(end, 1)]
        word = word[max(end, 1) :]
    yield word


def _width(characters: list[tuple[str, str]]) -> int:
    return sum(_cells(character) for character, _ in characters)


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
