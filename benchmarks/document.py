"""docs/performance.md and its pictures, from the raw lines in benchmarks/results.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plots, table
from benchmarks.rows import Line

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.jsonl"
DOCUMENT = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "images"
BEGIN, END = "<!-- measured: written by `make bench ARGS=--write` -->", "<!-- end of what was measured -->"


def write(lines: Sequence[Line]) -> None:
    """Put `lines` in the place of older ones of the same figures, then write the document anew from all."""
    measured = {line["figure"] for line in lines}
    older = [json.loads(text) for text in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []
    kept = merged(older, lines) if measured else older
    RESULTS.write_text("".join(json.dumps(line) + "\n" for line in kept))
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), table.report(kept)))
    PICTURES.mkdir(exist_ok=True)
    plots.write(kept, PICTURES, "performance")


def merged(older: Sequence[Line], newer: Sequence[Line]) -> list[Line]:
    """Figures that were measured again replace the older ones; machines on which nothing is left go too."""
    measured = {line["figure"] for line in newer}
    kept = [line for line in older if line["figure"] not in measured or line["figure"] == "machine"]
    runs = {line["run"] for line in kept if line["figure"] != "machine"}
    return [line for line in kept if line["run"] in runs] + list(newer)


def replaced(document: str, report: str) -> str:
    """The document with `report` between its marks. Raises ValueError where these are missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document lacks {BEGIN!r} or, behind it, {END!r}")
    return f"{before}{begin}\n\n{report}\n{end}{after}"
