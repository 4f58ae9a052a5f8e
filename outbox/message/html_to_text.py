"""HTML → the text part of a mail that was given as HTML only. It has every link's URL.

Tags are found by own code and not by `html.parser`, which takes a minute and a half for 48 KB of unclosed tags (CPython
3.11): here each character is looked at a fixed number of times, since this runs in a request.

Known limits: no columns (the cells of a row follow each other), no CSS: what is hidden by a style is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

_SKIPPED = frozenset({"head", "template", "title"})
_RAW = {tag: re.compile(rf"</{tag}\b", re.IGNORECASE) for tag in ("script", "style")}
_PARAGRAPHS = frozenset({"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
_BLOCKS = frozenset(
    "address article aside body center dd details div dt fieldset figcaption figure footer form header html li main"  # noqa: SIM905
    " nav ol section summary tbody tfoot thead tr ul".split()
)
_NOT_A_PLACE = ("#", "javascript:", "data:", "cid:")
_INDENTS = 8  # deeper lists are not indented further

_SPACE = re.compile(r"[ \t\r\n\f]+")
_TAG_NAME = re.compile(r"</?([A-Za-z][^\s/>]*)")
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>=][^\s/>=]*|=[^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?""")
_TAG_END = re.compile(r"[\s/]*>")

_Attributes = dict[str, str]


def from_html(html: str) -> str:
    """The text of `html`, LF as line end. Takes any input: what is broken is read as browsers do, or left out."""
    text = _Text()
    for kind, value, attributes in _tokens(html):
        if kind == "text":
            text.data(unescape(value))
        elif kind == "start":
            text.start(value, attributes)
        else:
            text.end(value)
    return text.finished()


def _tokens(html: str) -> Iterator[tuple[str, str, _Attributes]]:
    """("text" | "start" | "end", text or tag, attributes); comments, declarations, scripts and styles left out."""
    position = 0
    while (bracket := html.find("<", position)) >= 0:
        if bracket > position:
            yield "text", html[position:bracket], {}
        name = _TAG_NAME.match(html, bracket)
        if name is not None:
            tag = name[1].lower()
            attributes, position = _attributes(html, name.end())
            if position < 0:
                return
            yield "end" if html[bracket + 1] == "/" else "start", tag, attributes
            if tag in _RAW and html[bracket + 1] != "/":
                end = _RAW[tag].search(html, position)
                if end is None:
                    return
                position = end.start()
        elif html.startswith(("<!", "<?", "</"), bracket):
            closing = "-->" if html.startswith("<!--", bracket) else ">"
            end_of_it = html.find(closing, bracket + 2)
            if end_of_it < 0:
                return
            position = end_of_it + len(closing)
        else:
            yield "text", "<", {}
            position = bracket + 1
    yield "text", html[position:], {}


def _attributes(html: str, position: int) -> tuple[_Attributes, int]:
    """The attributes that start at `position`, and where the tag ends; -1 if it never does."""
    attributes: _Attributes = {}
    while (end := _TAG_END.match(html, position)) is None:
        found = _ATTRIBUTE.match(html, position)
        if found is None:
            return attributes, -1
        name, *values = found.groups()
        attributes.setdefault(name.lower(), unescape(next((value for value in values if value is not None), "")))
        position = found.end()
    return attributes, end.end()


class _Text:
    """Collects text; `_break` is how many line ends are owed before the next piece of it."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._break = 0
        self._space = False
        self._bulleted = False  # what follows stands beside its bullet, block or not
        self._skipping = 0
        self._pre = 0
        self._lists: list[int | None] = []  # the next number, None in a list of points
        self._link: tuple[str, int] | None = None  # URL, where its text starts in _out

    def finished(self) -> str:
        """All of it, the last link closed."""
        self._end_link()
        return "".join(self._out).strip("\n")

    def start(self, tag: str, attributes: _Attributes) -> None:
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
                self._put(self._bullet())
                self._bulleted = True
            case "ul" | "ol":
                self._lists.append(1 if tag == "ol" else None)
            case "pre":
                self._pre += 1
            case "td" | "th":
                self._space = True
            case "img":
                self.data(attributes.get("alt", ""))
            case "a":
                if self._link is not None:  # a link within a link ends the outer one, in browsers too
                    self._end_link()
                    self._space = True
                self._link = (attributes.get("href", "").strip(), len(self._out))

    def end(self, tag: str) -> None:
        """A closing tag."""
        if tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        match tag:
            case "a":
                self._end_link()
            case "ul" | "ol":
                if self._lists:
                    self._lists.pop()
            case "pre":
                self._pre = max(0, self._pre - 1)
        self._owe(tag)

    def data(self, data: str) -> None:
        """Text between tags."""
        if self._pre:
            self._put(data.replace("\r\n", "\n"))
            return
        words = _SPACE.sub(" ", data)
        if words.startswith(" "):
            self._space = True
        if words.strip(" "):
            self._put(words.strip(" "))
            self._space = words.endswith(" ")

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

    def _bullet(self) -> str:
        number = self._lists[-1] if self._lists else None
        indent = "  " * min(len(self._lists) - 1, _INDENTS)
        if number is None:
            return indent + "- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _end_link(self) -> None:
        if self._link is None:
            return
        url, start = self._link
        self._link = None
        if url and not url.lower().startswith(_NOT_A_PLACE) and url not in "".join(self._out[start:]):
            space, self._space = self._space, True
            self._put(f"<{url}>")
            self._space = space
