"""Writes docs/configuration.md from the table of settings: `python -m outbox.settings.docs`."""

from __future__ import annotations

import sys
from enum import Enum

from outbox.settings import docs_text
from outbox.settings.spec import Spec
from outbox.settings.table import default_of, specs


def markdown() -> str:
    """The whole page."""
    mail = [spec for spec in specs() if spec.name.startswith("MAIL_")]
    own = [spec for spec in specs() if not spec.name.startswith("MAIL_")]
    return f"{docs_text.HEAD}{docs_text.MAIL}{_table(mail)}\n{docs_text.OUTBOX}{_table(own)}\n{docs_text.TAIL}"


def _table(listed: list[Spec]) -> str:
    rows = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    rows += [f"| {_names(spec)} | {spec.form.says} | {_default(spec)} | {spec.doc} |" for spec in listed]
    return "\n".join(rows) + "\n"


def _names(spec: Spec) -> str:
    first, *aliases = (f"`{name}`" for name in spec.names)
    return first + "".join(f" (or {alias})" for alias in aliases)


def _default(spec: Spec) -> str:
    if spec.default is not None:
        return spec.default
    default = default_of(spec)
    if default is None:
        return "unset"
    if default in ("", ()):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"{default:,g}" if isinstance(default, float) and default < 1000 else f"{default:,.0f}"
    return f"`{default.value if isinstance(default, Enum) else default}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())
