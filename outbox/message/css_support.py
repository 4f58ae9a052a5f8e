"""CSS that the most used mail programs leave out, by the data of caniemail.com (MIT), as of September 2025.

A property is here if Gmail (web, iOS, Android) and Outlook on Windows all leave it out, and the place or the meaning of
what is shown depends on it: what only decorates may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

WITHOUT = "Gmail and Outlook on Windows"
"""The programs that leave all of these out."""

_NAMES = """
align-items aspect-ratio block-size border-block border-image border-inline clip-path flex-direction flex-wrap
grid-template grid-template-areas grid-template-columns grid-template-rows inline-size inset justify-content
list-style-image margin-block margin-block-end margin-block-start margin-inline margin-inline-end margin-inline-start
mask-image max-block-size max-inline-size min-block-size min-inline-size padding-block padding-block-end
padding-block-start padding-inline padding-inline-end padding-inline-start position shape-outside transform
"""
_PROPERTIES = frozenset(_NAMES.split())
_VALUE = re.compile(
    r"\b(var|light-dark|conic-gradient|oklch|oklab|lch|lab)\(|^\s*(?:inline-)?(grid)\s*(?:!important)?\s*$",
    re.IGNORECASE,
)
_GENERATED = re.compile(r"::?(before|after)\b", re.IGNORECASE)

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_PIECE = re.compile(r"[{}]|[^{}]+")
_QUOTED = re.compile(r"\"[^\"]*(?:\"|\Z)|'[^']*(?:'|\Z)|url\([^)]*(?:\)|\Z)", re.IGNORECASE)


def left_out(sheets: Iterable[str], attributes: Iterable[str]) -> Iterator[str]:
    """What of style sheets and `style=` attributes is left out, each once, such as `position` or `var()`.

    What stands within @media or @supports is meant for some programs alone, and is not looked at.
    """
    seen = set[str]()
    for found in (*(one for sheet in sheets for one in _of_sheet(sheet)), *_of_each(attributes)):
        if found not in seen:
            seen.add(found)
            yield found


def _of_each(declarations: Iterable[str]) -> Iterator[str]:
    for one in declarations:
        yield from _of_declarations(_COMMENT.sub("", one))


def _of_sheet(sheet: str) -> Iterator[str]:
    """The declarations of rules at the top, and the selectors that make content."""
    depth, last = 0, ""
    at_rule: int | None = None  # the depth at which the outermost at-rule is open
    for piece in _PIECE.findall(_COMMENT.sub("", sheet)):
        if piece == "{":
            if at_rule is None and last.lstrip().startswith("@"):
                at_rule = depth
            elif at_rule is None and (made := _GENERATED.search(last)):
                yield f"::{made[1].lower()}"
            depth += 1
        elif piece == "}":
            depth = max(0, depth - 1)
            at_rule = None if depth == at_rule else at_rule
        elif depth and at_rule is None:
            yield from _of_declarations(piece)
        last = "" if piece in "{}" else piece


def _of_declarations(text: str) -> Iterator[str]:
    for declaration in _QUOTED.sub("", text).split(";"):
        name, colon, value = declaration.partition(":")
        name = name.strip().lower()
        if not colon:
            continue
        if name in _PROPERTIES and not (name == "position" and value.strip().lower() in ("static", "relative")):
            yield name
        if made := _VALUE.search(value):
            yield f"{made[1].lower()}()" if made[1] else f"display: {made[2].lower()}"
