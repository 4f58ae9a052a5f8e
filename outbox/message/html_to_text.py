"""HTML → the text part of a mail that was given as HTML only. It has every link's URL.

Tables with data become columns (`text_table.py`), those that lay out are read in order. What readers don't see is left
out (`html_hidden.py`), so that a preheader is not there twice. Each character is looked at a fixed number of times,
since this runs in a request.

Known limits: of CSS only `style=` is read, in which `inline_css.py` has put the rest where it is installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

from outbox.message.html_hidden import split
from outbox.message.html_tags import Attributes, tokens
from outbox.message.text_table import Table, columns

_SKIPPED = frozenset({"head", "template", "title"})
_PARAGRAPHS = frozenset({"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
_BLOCKS = frozenset(
    "address article aside body center dd details div dt fieldset figcaption figure footer form header html li main"  # noqa: SIM905
    " nav ol section summary tbody tfoot thead tr ul".split()
)
_NOT_A_PLACE = ("#", "javascript:", "data:", "cid:")
_INDENTS = 8  # deeper lists are not indented further

_SPACE = re.compile(r"[ \t\r\n\f]+")
_NUMBER = re.compile(r"\s*([-+]?\d{1,9})")
_FILLER = re.compile("[\\s\u00ad\u034f\u200b-\u200d\u2060\ufeff]+")  # what preheaders are padded with
_AROUND = ".,;:!?()[]<>\"'"


def from_html(html: str) -> str:
    """The text of `html`, LF as line end. Takes any input: what is broken is read as browsers do, or left out."""
    text = _Text()
    for is_hidden, (kind, value, attributes) in split(tokens(html)):
        if is_hidden:
            text.pass_by(kind, value)
        elif kind == "text":
            text.data(unescape(value))
        elif kind == "start":
            text.start(value, attributes)
        else:
            text.end(value)
    return text.finished()


@dataclass(slots=True)
class _List:
    """A list while its items go by."""

    number: int | None  # the next one; None in a list of points
    step: int = 1
    counted: bool = False  # it ends at 1, so that its first number is known at its end
    items: list[tuple[int, str, int | None]] = field(default_factory=list)  # where, indented how, `value=`


class _Text:
    """Collects text; `_break` is how many line ends are owed before the next piece of it."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._break = 0
        self._space = False
        self._bulleted = False  # what follows stands beside its bullet, block or not
        self._skipping = 0
        self._pre = 0
        self._lists: list[_List] = []
        self._tables: list[Table] = []
        self._link: tuple[str, int] | None = None  # URL, where its text starts in _out

    def finished(self) -> str:
        """All of it, the last link closed."""
        self._end_link()
        while self._tables:
            self._end_table()
        while self._lists:
            self._end_list()
        return "".join(self._out).strip("\n")

    def start(self, tag: str, attributes: Attributes) -> None:
        """An opening tag."""
        if tag in _SKIPPED:
            self._skipping += 1
        elif tag == "body":
            self._skipping = 0  # whatever was left open in the head
        self._owe(tag)
        match tag:
            case "br":
                self._break = min(self._break + 1, 2) if self._out else 0
                self._space = False
            case "hr":
                self._owe("p")
                self._put("-" * 40)
                self._owe("p")
            case "li":
                self._item(attributes)
            case "ul":
                self._lists.append(_List(None))
            case "ol":
                self._lists.append(_ordered(attributes))
            case "pre":
                self._pre += 1
            case "table":
                self._start_table(attributes)
            case "tr":
                self._row()
            case "td" | "th":
                self._cell(tag, attributes)
            case "img":
                self._alternative(attributes)
            case "a":
                self._start_link(attributes)
            case "area":
                self._start_link(attributes)
                self._alternative(attributes)
                self._end_link()

    def end(self, tag: str) -> None:
        """A closing tag."""
        if tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        match tag:
            case "a":
                self._end_link()
            case "ul" | "ol":
                self._end_list()
            case "pre":
                self._pre = max(0, self._pre - 1)
            case "td" | "th":
                self._end_cell()
            case "tr":
                self._end_cell()
                if self._tables:
                    self._tables[-1].cell = None
            case "table":
                self._end_table()
        self._owe(tag)

    def data(self, data: str) -> None:
        """Text between tags."""
        if self._pre:
            self._put(data.replace("\r\n", "\n"))
            return
        if _FILLER.fullmatch(data):
            self._space = True
            return
        words = _SPACE.sub(" ", data.replace("\u00ad", ""))
        if words.startswith(" "):
            self._space = True
        if words.strip(" "):
            self._put(words.strip(" "))
            self._space = words.endswith(" ")

    def pass_by(self, kind: str, tag: str) -> None:
        """A tag or text within something hidden: blocks still separate what is around them."""
        if kind != "text" and tag in _BLOCKS | _PARAGRAPHS:
            self._break = max(self._break, 1)

    def _owe(self, tag: str) -> None:
        if tag in _PARAGRAPHS and not (tag in {"ul", "ol"} and self._lists):
            self._break = max(self._break, 2)
        elif tag in _BLOCKS:
            self._break = max(self._break, 1)

    def _put(self, text: str) -> None:
        if self._skipping or not text:
            return
        if self._out and not self._bulleted:
            self._out.append("\n" * self._break or " " * self._space)
        self._break, self._space, self._bulleted = 0, False, False
        self._out.append(text)
        if self._tables and self._tables[-1].cell is None and self._tables[-1].start is not None:
            self._tables[-1].is_layout = True  # text beside the cells

    def _alternative(self, attributes: Attributes) -> None:
        alt = attributes.get("alt", "")
        if alt.strip():
            self._space = True
            self.data(alt)
            self._space = True

    def _item(self, attributes: Attributes) -> None:
        indent = "  " * min(max(0, len(self._lists) - 1), _INDENTS)
        current = self._lists[-1] if self._lists else _List(None)
        if current.number is None:
            self._put(f"{indent}- ")
        else:
            value = _whole(attributes.get("value"))
            number = current.number if value is None else value
            current.number = number + current.step
            before = len(self._out)
            self._put(f"{indent}{number}. ")
            if current.counted and len(self._out) > before:
                current.items.append((len(self._out) - 1, indent, value))
        self._bulleted = True

    def _end_list(self) -> None:
        if not self._lists:
            return
        ended = self._lists.pop()
        number = len(ended.items)
        for place, indent, value in ended.items:
            number = number if value is None else value
            if place < len(self._out):
                self._out[place] = f"{indent}{number}. "
            number -= 1

    def _start_table(self, attributes: Attributes) -> None:
        for outer in self._tables[-1:]:
            outer.is_layout = True
        is_layout = attributes.get("role", "").strip().lower() in ("presentation", "none")
        self._tables.append(Table(lists=len(self._lists), is_layout=is_layout))

    def _row(self) -> None:
        if not self._tables or self._tables[-1].is_layout:
            return
        self._end_cell()
        table = self._tables[-1]
        self._begin(table)
        table.new_row()

    def _begin(self, table: Table) -> None:
        if table.start is None:
            table.start, table.owed, table.bulleted = len(self._out), self._break, self._bulleted

    def _cell(self, tag: str, attributes: Attributes) -> None:
        if self._tables and not self._tables[-1].is_layout:
            self._end_cell()
            table = self._tables[-1]
            self._begin(table)
            table.cell = len(self._out)
            table.has_heads = table.has_heads or tag == "th"
            table.span = min(max(_whole(attributes.get("colspan")) or 1, 1), 100)
            table.down = max((_whole(attributes.get("rowspan")) or 1) - 1, 0)
        self._space = True

    def _end_cell(self) -> None:
        table = self._tables[-1] if self._tables else None
        if table is not None and table.cell is not None and not table.is_layout:
            table.close_cell("".join(self._out[table.cell :]).strip())

    def _end_table(self) -> None:
        if not self._tables:
            return
        self._end_cell()
        table = self._tables.pop()
        while len(self._lists) > table.lists:
            self._end_list()
        text = columns(table)
        if text is None or table.start is None:
            return
        del self._out[table.start :]
        self._break, self._bulleted = table.owed, table.bulleted
        self._put(text)

    def _start_link(self, attributes: Attributes) -> None:
        if self._link is not None:  # a link within a link ends the outer one, in browsers too
            self._end_link()
            self._space = True
        self._link = (attributes.get("href", "").strip(), len(self._out))

    def _end_link(self) -> None:
        if self._link is None:
            return
        url, start = self._link
        self._link = None
        if url and not url.lower().startswith(_NOT_A_PLACE) and not _says("".join(self._out[start:]), url):
            space, self._space = self._space, True
            self._put(f"<{url}>")
            self._space = space


def _ordered(attributes: Attributes) -> _List:
    start, is_reversed = _whole(attributes.get("start")), "reversed" in attributes
    return _List(1 if start is None else start, -1 if is_reversed else 1, counted=is_reversed and start is None)


def _whole(text: str | None) -> int | None:
    found = _NUMBER.match(text or "")
    return int(found[1]) if found else None


def _says(text: str, url: str) -> bool:
    """Whether `text` has the place that `url` leads to as a word of its own."""
    place = url.removeprefix("mailto:").removeprefix("tel:")
    wanted = {place, place.rstrip("/"), place.strip(_AROUND)} - {""}
    return any(word in wanted or word.strip(_AROUND).rstrip("/") in wanted for word in text.split())
