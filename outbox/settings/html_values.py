"""How the settings of HTML mail are written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from outbox.settings.shown import shown
from outbox.settings.values import Form, boolean

MISSING = (
    "OUTBOX_INLINE_CSS is true, but css-inline is not installed. Run `pip install 'flask-outbox[html]'`, or set it to "
    "auto."
)


def _parse(raw: Any) -> str:
    if isinstance(raw, str) and raw.strip().lower() == "auto":
        return "auto"
    try:
        return "true" if boolean(raw) else "false"
    except ValueError:
        raise ValueError(f"is {shown(raw)}, not auto, true or false") from None


def _parse_folder(raw: Any) -> Path:
    if not isinstance(raw, str | Path):
        raise ValueError(f"is {shown(raw)}, not the name of a folder")
    folder = Path(raw)
    if folder.is_absolute() and not folder.is_dir():
        raise ValueError(f"is {shown(str(raw))}, which is not a folder")
    return folder


FOLDER = Form("the name of a folder", _parse_folder)
INLINE_CSS = Form("auto, true or false", _parse)


def can_inline() -> bool:
    """Whether css-inline is installed."""
    return find_spec("css_inline") is not None
