"""Which parts of HTML its readers do not see: the preheader, what a style hides.

Hidden are `display:none`, `visibility:hidden`, `opacity:0`, a height of 0 with `overflow:hidden`, and the attribute
`hidden`. Not hidden are `mso-hide` (it hides from Outlook alone, and the buttons of all others carry it), `aria-hidden`
(from screen readers alone), and `font-size:0`, which tables have whose cells set it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from outbox.message.html_tags import Attributes

_NOT_DISPLAYED = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0*\.?0+(?![.\d]))", re.IGNORECASE
)
_NO_HEIGHT = re.compile(r"(?:^|;)\s*(?:max-)?height\s*:\s*0+(?:px|em|pt|%)?\s*(?:!|;|\Z)", re.IGNORECASE)
_CUT = re.compile(r"(?:^|;)\s*overflow\s*:\s*hidden", re.IGNORECASE)
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905
_CONTAINERS = frozenset({"dl", "ol", "table", "ul"})
_CELL = (frozenset({"td", "th", "tr", "tbody", "tfoot"}), frozenset({"tr", "tbody", "thead", "tfoot", "table"}))
_BLOCKS = frozenset(
    "address article aside blockquote center div dl fieldset footer form h1 h2 h3 h4 h5 h6 header hr main"  # noqa: SIM905
    " nav ol p pre section table ul".split()
)
_ENDED_BY = {
    "p": (_BLOCKS, frozenset({"div", "td", "th", "body", "center", "section", "article", "blockquote", "li"})),
    "li": (frozenset({"li"}), frozenset({"ul", "ol"})),
    "dt": (frozenset({"dt", "dd"}), frozenset({"dl"})),
    "dd": (frozenset({"dt", "dd"}), frozenset({"dl"})),
    "td": _CELL,
    "th": _CELL,
    "tr": (frozenset({"tr", "tbody", "tfoot"}), frozenset({"tbody", "thead", "tfoot", "table"})),
}
"""Tags that need no end: which starts and which ends of other tags end them."""

Token = tuple[str, str, Attributes]


def is_hidden(attributes: Attributes) -> bool:
    """Whether an element with these attributes is not shown."""
    if "hidden" in attributes:
        return True
    style = attributes.get("style")
    return style is not None and (
        _NOT_DISPLAYED.search(style) is not None
        or (_NO_HEIGHT.search(style) is not None and _CUT.search(style) is not None)
    )


def split(tokens: Iterator[Token]) -> Iterator[tuple[bool, Token]]:
    """Each token, with whether it is within something hidden."""
    tag, depth, inner = "", 0, 0  # of the hidden element, of the same tags in it, of lists and tables in it
    for token in tokens:
        kind, name, attributes = token
        if tag and kind != "text" and not inner and _ends(tag, kind, name):
            tag = ""
        if not tag:
            if kind == "start" and is_hidden(attributes):
                if name not in _VOID:
                    tag, depth, inner = name, 1, 0
                yield True, token
            else:
                yield False, token
            continue
        yield True, token
        if kind == "text":
            continue
        step = 1 if kind == "start" else -1
        if name == tag and not inner:
            depth += step
        if name in _CONTAINERS and name != tag:
            inner = max(0, inner + step)
        if depth <= 0:
            tag = ""


def _ends(tag: str, kind: str, name: str) -> bool:
    starts, ends = _ENDED_BY.get(tag, (frozenset(), frozenset()))
    return name in (starts if kind == "start" else ends)
