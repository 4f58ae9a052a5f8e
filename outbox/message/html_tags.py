"""HTML → its tags, their attributes and the text between, in one pass.

Not by `html.parser`, which takes a minute and a half for 48 KB of unclosed tags (CPython 3.11): here each character is
looked at a fixed number of times, since this runs in a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

Attributes = dict[str, str]

_RAW = {tag: re.compile(rf"</{tag}\b", re.IGNORECASE) for tag in ("script", "style")}
_TAG_NAME = re.compile(r"</?([A-Za-z][^\s/>]*)")
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>=][^\s/>=]*|=[^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?""")
_TAG_END = re.compile(r"[\s/]*>")


def tokens(html: str) -> Iterator[tuple[str, str, Attributes]]:
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


def _attributes(html: str, position: int) -> tuple[Attributes, int]:
    """The attributes that start at `position`, and where the tag ends; -1 if it never does."""
    attributes: Attributes = {}
    while (end := _TAG_END.match(html, position)) is None:
        found = _ATTRIBUTE.match(html, position)
        if found is None:
            return attributes, -1
        name, *values = found.groups()
        attributes.setdefault(name.lower(), unescape(next((value for value in values if value is not None), "")))
        position = found.end()
    return attributes, end.end()
