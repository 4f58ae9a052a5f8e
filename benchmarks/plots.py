"""Two pictures, as SVG: how fast each drains, and how soon a single mail arrives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks import stats
from benchmarks.rows import Line

_WIDTH, _LABEL, _BAR = 860, 350, 20
_INK, _OURS, _THEIRS, _RULE = "#24292f", "#2f6f9f", "#b0854a", "#c8ccd0"
_LINES = (_OURS, _THEIRS, "#5b8c5a")
_NAMES = {
    "drain": "",
    "processes": "",
    "commits": "commits + 2 ms, ",
    "server": "20 ms for DATA, ",
    "sqlite": "SQLite, ",
    "mariadb": "MariaDB, ",
}


def write(lines: Sequence[Line], folder: Path, name: str) -> None:
    """Both, as NAME-drain.svg and NAME-latency.svg."""
    (folder / f"{name}-drain.svg").write_text(drains(lines))
    (folder / f"{name}-latency.svg").write_text(latency(lines))


def drains(lines: Sequence[Line]) -> str:
    """Bars: the ratio to the bare loop, which is a line at 1."""
    bars = list(_bars(lines))
    longest = max([1.0, *(value for _, value, _ in bars)]) * 1.08
    scale = (_WIDTH - _LABEL - 60) / longest
    height = 50 + len(bars) * (_BAR + 8) + 20
    parts = [_text(_LABEL, 20, "drain, as a ratio to the bare smtplib loop that records nothing", bold=True)]
    for number, (name, value, colour) in enumerate(bars):
        y = 40 + number * (_BAR + 8)
        parts.append(_text(_LABEL - 8, y + 15, name, anchor="end"))
        parts.append(f'<rect x="{_LABEL}" y="{y}" width="{value * scale:.1f}" height="{_BAR}" fill="{colour}"/>')
        parts.append(_text(_LABEL + value * scale + 6, y + 15, f"{value:.2f}"))
    one = _LABEL + scale
    parts.append(_line(one, 32, one, height - 26, "#a33"))
    parts.append(_text(one, height - 10, "bare loop", anchor="middle"))
    return _svg(_WIDTH, height, parts)


def latency(lines: Sequence[Line]) -> str:
    """Curves: the share of single mails that the server had accepted so soon after their commit."""
    curves = _samples(lines)
    most = max((stats.percentile(taken, 0.995) for taken in curves.values()), default=1.0)
    step = 10 ** math.floor(math.log10(most)) / 2
    left, top, width, height = 60, 40, _WIDTH - 100, 260
    parts = [_text(left, 20, "single mails accepted so many milliseconds after their commit, share", bold=True)]
    for number in range(5):
        y = top + height * (1 - number / 4)
        parts += [_line(left, y, left + width, y, _RULE), _text(left - 8, y + 5, f"{number * 25} %", anchor="end")]
    for number in range(int(most / step) + 1):
        x = left + width * number * step / most
        parts.append(_text(x, top + height + 20, f"{number * step:g}", anchor="middle"))
    for number, (name, taken) in enumerate(curves.items()):
        points = " ".join(
            f"{left + width * min(value / most, 1):.1f},{top + height * (1 - (place + 1) / len(taken)):.1f}"
            for place, value in enumerate(taken)
        )
        colour = _LINES[number % len(_LINES)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(left + width - 8, top + height - 12 - 20 * number, name, anchor="end", colour=colour))
    return _svg(_WIDTH, top + height + 40, parts)


def _samples(lines: Sequence[Line]) -> dict[str, list[float]]:
    """Milliseconds by case, sorted; without polling alone, beside which the others could not be told apart."""
    taken: dict[str, list[float]] = {}
    for line in lines:
        if line["figure"] == "latency" and "samples" in line and "," not in line["case"]:
            taken[line["case"]] = sorted(taken.get(line["case"], []) + line["samples"])
    return taken


def _bars(lines: Sequence[Line]) -> Iterator[tuple[str, float, str]]:
    for figure, words in (*_NAMES.items(), ("peers", "")):
        for case in dict.fromkeys(line["case"] for line in lines if line["figure"] == figure and "ratio" in line):
            values = [line["ratio"] for line in lines if line["figure"] == figure and line["case"] == case]
            yield words + case, stats.summary(values).median, _THEIRS if figure == "peers" else _OURS


def _svg(width: int, height: float, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {width} {height:g}" font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, f'<rect width="{width}" height="{height:g}" fill="white"/>', *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False, colour: str = _INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
