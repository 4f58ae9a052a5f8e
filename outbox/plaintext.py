"""HTML → the text part of a mail that was given as HTML only. Every link's URL stands in it.

Known limits: no columns (the cells of a row follow each other), no CSS: what is hidden by a style is shown.
"""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

_SKIPPED = frozenset({"head", "script", "style", "template", "title"})
_PARAGRAPHS = frozenset({"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
_BLOCKS = frozenset(
    "address article aside body center dd details div dt fieldset figcaption figure footer form header html li main"  # noqa: SIM905
    " nav section summary tbody tfoot thead tr".split()
)
_NOT_A_PLACE = ("#", "javascript:", "data:", "cid:")

_SPACE = re.compile(r"[ \t\r\n\f]+")
_TAG = re.compile(r"<[^<>]*>")


def from_html(html: str) -> str:
    """The text of `html`, LF as line end. Never raises: where the parser gives up, tags are cut out as they are."""
    converter = _Converter()
    try:
        converter.feed(html)
        converter.close()
    except AssertionError:  # html.parser on marked sections such as "<![x["
        return _SPACE.sub(" ", unescape(_TAG.sub(" ", html))).strip()
    return converter.text()


class _Converter(HTMLParser):
    """Collects text; `_break` is how many line ends are owed before the next piece of it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._break = 0
        self._space = False
        self._bulleted = False  # what follows stands beside its bullet, block or not
        self._skipping = 0
        self._pre = 0
        self._lists: list[int | None] = []  # the next number, None in a list of points
        self._links: list[tuple[str, int]] = []  # URL, where its text starts in _out

    def text(self) -> str:
        while self._links:
            self._end_link()
        return "".join(self._out).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
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
                self.handle_data(dict(attrs).get("alt") or "")
            case "a":
                self._start_link(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
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

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
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
        elif tag in _BLOCKS or tag in {"ul", "ol"}:
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
        indent = "  " * (len(self._lists) - 1)
        if number is None:
            return indent + "- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _start_link(self, url: str) -> None:
        self._links.append((url.strip(), len(self._out)))

    def _end_link(self) -> None:
        if not self._links:
            return
        url, start = self._links.pop()
        if url and not url.lower().startswith(_NOT_A_PLACE) and url not in "".join(self._out[start:]):
            self._space = True
            self._put(f"<{url}>")
