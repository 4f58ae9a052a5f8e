"""The commands' documentation, made from the commands themselves: `python -m outbox.cli.manual` (`make manual`).

It writes the manual page, docs/outbox.1, and the marked parts of docs/commands.md; what is outside of these is kept.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from outbox.cli import roff
from outbox.cli.entries import Entry, entries, filters

WIDTH = 100
_BEGIN = "<!-- {name}: written by `make manual` -->\n"
_END = "<!-- end -->\n"
_PART = re.compile(r"<!-- (?P<name>[a-z-]+): written by `make manual` -->\n.*?<!-- end -->\n", re.DOTALL)


def markdown(page: str) -> str:
    """docs/commands.md with its marked parts rewritten. Raises ValueError if a command has no part in it."""
    parts = {entry.name: _section(entry) for entry in entries()}
    parts["commands"] = _table("command", [(f"[`{one.name}`](#{one.name})", one.title) for one in entries()])
    parts["filters"] = _table("option", [(f"`{name}`", words) for name, words in filters()])
    if lacking := parts.keys() - {found["name"] for found in _PART.finditer(page)}:
        raise ValueError(f"no part for {', '.join(sorted(lacking))}: add a line {_BEGIN.format(name='NAME').strip()}")
    return _PART.sub(lambda found: _BEGIN.format(name=found["name"]) + parts[found["name"]] + _END, page)


def _section(entry: Entry) -> str:
    usage = textwrap.wrap(
        " ".join(word.replace(" ", "\0") for word in [entry.name, *entry.usage]),
        WIDTH,
        subsequent_indent=" " * (len(entry.name) + 1),
        break_on_hyphens=False,
    )
    parts = [
        "```text\n" + "\n".join(usage).replace("\0", " ") + "\n```",
        f"{entry.title}",
        *entry.paragraphs,
        _table("option", [(f"`{name}`", words) for name, words in entry.options]).rstrip(),
        "```text\n" + "\n".join(f"flask {line}" for line in entry.examples) + "\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head} | |", "|---|---|", *(f"| {name.replace('|', '&#124;')} | {words} |" for name, words in rows)]
    return "\n".join(line.replace("&#124;", r"\|") for line in lines) + "\n" if rows else ""


def write(folder: Path) -> None:
    """Both files in `folder`."""
    page = folder / "commands.md"
    page.write_text(markdown(page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "outbox.1").write_text(roff.page(entries(), filters()), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
