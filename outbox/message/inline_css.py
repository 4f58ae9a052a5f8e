"""CSS of `<style>` blocks → `style=` attributes, by css-inline (extra `html`): many readers drop the blocks.

What can't be an attribute stays in its block: `@media` (dark mode, narrow screens), `:hover`, `@font-face`. An
attribute goes before any rule of a block, so what stays gets `!important`; without it the dark mode would be lost.

Known limits: style sheets behind `<link>` and `@import` are never loaded, neither by network nor from files, and stay
as they are. css-inline parses recursively and ends the process where tags are nested by the thousand, and takes time by
rules times tags: HTML beyond `_DEEPEST` or `_LARGEST`, which only a program would write, stays as it was.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from css_inline import CSSInliner

_DEEPEST = 200  # tags within one another, some 850 bytes of stack each; mail with its tables has 20 to 60
_TABLE = 4  # a cell within its row and body
_LARGEST = 2_000_000  # rules times tags: a tenth of a second

_BLOCK = re.compile(r"<!--.*?(?:-->|\Z)|<style\b([^>]{0,2000})>(.*?)(</style\b|\Z)", re.IGNORECASE | re.DOTALL)
_MEDIA = re.compile(r"""\bmedia\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""", re.IGNORECASE)
_EMPTY = re.compile(r"<style[^>]{0,2000}>\s{0,99}</style>\n?")
_SET_APART = ' data-css-inline="ignore" data-media'
_TAG = re.compile(r"<(/?)([a-z][^\s/>]*)", re.IGNORECASE)
_NOT_NESTED = frozenset(
    "area base br col hr img input link meta source wbr body head html"  # noqa: SIM905
    " p li dt dd tr td th tbody thead tfoot option".split()
)
"""Tags without an end, or that end where the next of them begins: no depth comes of these alone."""

_TOKEN = re.compile(
    r"""/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|\\.|[{};()]""",
    re.DOTALL,
)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_IMPORTANT = re.compile(r"!\s*important\Z", re.IGNORECASE)
_CONDITIONAL = ("@media", "@supports", "@container")


def inlined(html: str) -> str:
    """`html` with its CSS in the attributes; as it was where there is none, or where it can't be read."""
    if "<style" not in html.lower():
        return html
    found = [block for block in _BLOCK.finditer(html) if block[2] is not None]
    if not found or not _bounded(html, sum(block[2].count("{") for block in found)):
        return html
    try:
        made = _inliner().inline(_BLOCK.sub(_set_apart, html))
    except ValueError:  # css_inline.InlineError: CSS that it can't read
        return html
    return _EMPTY.sub("", _BLOCK.sub(_kept, made))


@cache
def _inliner() -> CSSInliner:
    from css_inline import CSSInliner

    return CSSInliner(
        load_remote_stylesheets=False, keep_link_tags=True, keep_style_tags=True, remove_inlined_selectors=True
    )


def _bounded(html: str, rules: int) -> bool:
    tags = html.count("<")
    if tags * _TABLE <= _DEEPEST:
        return True
    if rules * tags > _LARGEST:
        return False
    depth, deepest, opened = 0, 0, Counter[str]()
    for end, name in _TAG.findall(html):
        tag = name.lower()
        if tag in _NOT_NESTED:
            continue
        levels = _TABLE if tag == "table" else 1
        if not end:
            opened[tag] += 1
            depth += levels
            deepest = max(deepest, depth)
        elif opened[tag]:
            opened[tag] -= 1
            depth -= levels
    return deepest <= _DEEPEST


def _set_apart(block: re.Match[str]) -> str:
    """css-inline doesn't read `media=`: it would write what is for print, or for the dark, into the attributes."""
    if block[2] is None:
        return block[0]
    media = _MEDIA.search(block[1])
    if media is None or media[1].strip("\"' ").lower() in ("all", "screen", ""):
        return block[0]
    return f"<style{_SET_APART}{block[1]}>{block[2]}{block[3]}"


def _kept(block: re.Match[str]) -> str:
    if block[2] is None or not block[2].strip():
        return block[0]
    attributes = block[1]
    if "data-media" in attributes:
        attributes = re.sub(r' data-css-inline="ignore" data-media(?:="")?', "", attributes, count=1)
    elif "data-css-inline" in attributes:  # the author's own: to be left alone
        return block[0]
    return f"<style{attributes}>{strengthened(block[2])}{block[3]}"


def strengthened(css: str) -> str:
    """`css` with `!important` at each declaration of its rules; as it was where it is not plain CSS."""
    places: list[int] = []
    within: list[str] = []
    start = brackets = 0
    for token in _TOKEN.finditer(css):
        match token[0]:
            case "(":
                brackets += 1
            case ")":
                brackets = max(0, brackets - 1)
            case "{" if not brackets:
                if "rule" in within:  # nested rules
                    return css
                within.append(_kind(css[start : token.start()], within))
                start = token.end()
            case ";" | "}" if not brackets:
                if within and within[-1] == "rule" and _is_weak(css[start : token.start()]):
                    places.append(start + len(css[start : token.start()].rstrip()))
                if token[0] == "}" and within:
                    within.pop()
                start = token.end()
    pieces, end = [], 0
    for place in places:
        pieces += [css[end:place], " !important"]
        end = place
    return "".join([*pieces, css[end:]])


def _kind(prelude: str, within: list[str]) -> str:
    """Of a block: "rule", "condition" (rules that hold at times) or "other" (`@font-face`, `@keyframes`)."""
    words = _COMMENT.sub("", prelude).strip().lower()
    if within and within[-1] == "other":
        return "other"
    if words.startswith("@"):
        return "condition" if words.startswith(_CONDITIONAL) else "other"
    return "rule"


def _is_weak(declaration: str) -> bool:
    words = _COMMENT.sub("", declaration).strip()
    return ":" in words and _IMPORTANT.search(words) is None
