"""HTML as a mail program in light or in dark mode shows it, whatever the mode of the browser that looks at it.

A frame without script can't be told its mode by all browsers, so the question is answered in the style sheets
themselves: `prefers-color-scheme` becomes a condition that holds, or one that does not.
"""

from __future__ import annotations

import re

SCHEMES = ("light", "dark")

_ASKED = re.compile(r"\(\s{0,9}prefers-color-scheme\s{0,9}:\s{0,9}(light|dark)\s{0,9}\)", re.IGNORECASE)
_META = re.compile(r"<meta\b[^>]{0,500}\bname\s{0,9}=\s{0,9}[\"']?color-scheme\b[^>]{0,500}>", re.IGNORECASE)
_PROPERTY = re.compile(r"(?<![\w-])color-scheme\s{0,9}:[^;}\"]{0,99}\bdark\b", re.IGNORECASE)
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
_HOLDS, _FAILS = "(min-width: 0px)", "(max-width: 0px)"


def has_dark_mode(html: str) -> bool:
    """Whether it says how it looks in dark mode. Otherwise mail programs leave it light, or change it by themselves."""
    return bool(
        _PROPERTY.search(html)
        or any("dark" in one[0].lower() for one in _META.finditer(html))
        or any(one[1].lower() == "dark" for one in _ASKED.finditer(html))
    )


def in_scheme(html: str, scheme: str) -> str:
    """`html` as it looks in `scheme`, "light" or "dark"; what has no dark mode stays light."""
    dark = scheme == "dark" and has_dark_mode(html)
    made = _ASKED.sub(lambda asked: _HOLDS if asked[1].lower() == ("dark" if dark else "light") else _FAILS, html)
    doctype = _DOCTYPE.match(made)
    at = doctype.end() if doctype else 0
    rule = f"<style>:root{{color-scheme:only {'dark' if dark else 'light'}!important}}</style>"
    return f"{made[:at]}{rule}{made[at:]}"
