"""Raw lines → Markdown tables: what was asked for and whether it was reached, every drain, the peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import decisions, stats
from benchmarks.rows import ROWS, Found, Line, found

_DRAINS = ("drain", "processes", "commits", "server", "network", "sqlite", "mariadb", "flat")
_WORDS = {
    "drain": "server answers at once",
    "processes": "several processes",
    "commits": "commits slowed",
    "server": "20 ms for DATA",
    "network": "20 ms round trip",
    "sqlite": "SQLite",
    "mariadb": "MariaDB",
    "flat": "32 connections",
}
_OF = ("of_bare", "multiple", "of_peer")
_COSTS = (
    "messages sent by",
    "processor time",
    "range",
    "of",
    "sender",
    "database",
    "of the bare loop's",
    "of the recording loop's",
    "of django-post_office's",
    "messages/s",
    "of the bare loop's",
)


def report(lines: Sequence[Line]) -> str:
    """All tables, with the conditions above them."""
    parts = [conditions(lines)]
    if any(line["figure"] == "processor" and "sender" in line for line in lines):
        parts += ["Processor time of 1,000 messages, beside three references:", costs(lines), awake(lines)]
    parts.append(targets(lines))
    if any(line["figure"] in _DRAINS and "ratio" in line for line in lines):
        parts += ["Every drain:", drains(lines)]
    if any(line["figure"] == "peers" and "ratio" in line for line in lines):
        parts += ["Others, with the same mail, sink and PostgreSQL:", peers(lines)]
    if bought := list(decisions.rows(lines)):
        head = ("what a decision bought", "without", "with")
        parts += ["Decisions (`docs/decisions/`):", markdown([head, *bought], numbers=range(1, 3))]
    return "\n\n".join(part for part in parts if part) + "\n"


def conditions(lines: Sequence[Line]) -> str:
    """Where and when, one line for each run that differs in that; and what a ratio of 1 is."""
    said = list(dict.fromkeys(f"Measured {line['case']}." for line in lines if line["figure"] == "machine"))
    bare = [rate for line in lines if line["figure"] != "network" for rate in line.get("bare", ())]
    if bare:
        loop = stats.summary(bare)
        said.append(
            f"The bare loop, 1.0 of every ratio: {loop.median:,.0f} mails a second, {loop.least:,.0f} to "
            f"{loop.most:,.0f} in {loop.count} runs."
        )
    return "\n\n".join(said)


def costs(lines: Sequence[Line]) -> str:
    """Processor time of a message first, then what it is of the references' of the same turns."""
    rows = [_COSTS]
    for case, values in _by_case(lines, "processor", "sender"):
        whole = stats.summary([line["machine"] for line in values])
        rows.append(
            (
                case,
                f"{whole.median:.3f} s",
                f"{whole.least:.3f}–{whole.most:.3f}",
                str(whole.count),
                *(f"{_median(values, name):.3f} s" for name in ("sender", "server")),
                *(f"{_median(values, name):.2f}" if name in values[0] else "" for name in _OF),
                f"{_median(values, 'rate'):,.0f}",
                f"{_median(values, 'share'):.2f}",
            )
        )
    return markdown(rows, numbers=range(1, len(_COSTS)))


def awake(lines: Sequence[Line]) -> str:
    """How awake the machine was between those turns, and how fast the bare loop."""
    turns = [line for line in lines if line["figure"] == "processor" and line["case"] == "bare loop"]
    wake, loop = (stats.summary([line[name] for line in turns]) for name in ("wake", "rate"))
    other = stats.summary([line["busy"] for line in turns])
    return (
        f"Before each of {len(turns)} turns a sleeping process ran again after {wake.median:.0f} µs "
        f"({wake.least:.0f} to {wake.most:.0f}), other work took {other.median:.0%} of the processors "
        f"({other.least:.0%} to {other.most:.0%}), the host {_median(turns, 'steal'):.1%}, and the load average was "
        f"{_median(turns, 'load'):.1f}; the bare loop sent {loop.median:,.0f} messages a second ({loop.least:,.0f} to "
        f"{loop.most:,.0f})."
    )


def targets(lines: Sequence[Line]) -> str:
    """The table of what must be reached."""
    head = ("figure", "median", "range", "of", "must reach", "reached")
    return markdown([head, *(_target(found(row, lines)) for row in ROWS)], numbers=range(1, 5))


def drains(lines: Sequence[Line]) -> str:
    """Rates behind the ratios, with CPU and memory."""
    rows = [("drain", "mails/s", "bare loop/s", "ratio", "range", "CPU s per 1,000", "memory MB")]
    for figure in _DRAINS:
        for case, values in _by_case(lines, figure):
            ratio = stats.summary([line["ratio"] for line in values])
            rows.append(
                (
                    f"{_WORDS[figure]}: {case}",
                    f"{_median(values, 'rate'):,.0f}",
                    f"{stats.summary([rate for line in values for rate in line['bare']]).median:,.0f}",
                    f"{ratio.median:.2f}",
                    f"{ratio.least:.2f}–{ratio.most:.2f}",
                    f"{_median(values, 'cpu'):.2f}",
                    f"{_median(values, 'memory'):.0f}",
                )
            )
    return markdown(rows, numbers=range(1, 7))


def peers(lines: Sequence[Line]) -> str:
    """The others."""
    rows = [("", "drain, ratio", "range", "mails/s", "enqueue/s", "memory MB")]
    for case, values in _by_case(lines, "peers"):
        ratio = stats.summary([line["ratio"] for line in values])
        rows.append(
            (
                case,
                f"{ratio.median:.3f}",
                f"{ratio.least:.3f}–{ratio.most:.3f}",
                f"{_median(values, 'rate'):,.0f}",
                f"{_median(values, 'enqueue'):,.0f}",
                f"{_median(values, 'memory'):.0f}",
            )
        )
    return markdown(rows, numbers=range(1, 6))


def markdown(rows: Sequence[Sequence[str]], *, numbers: range) -> str:
    """A table whose columns stand under each other; `numbers`: the columns set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = "|".join("-" * (width + 1) + (":" if column in numbers else "-") for column, width in enumerate(widths))
    return "\n".join([line(rows[0]), f"|{rule}|", *map(line, rows[1:])])


def _target(one: Found) -> tuple[str, ...]:
    row = one.row
    sign = "≤" if row.most else "≥"
    must = "" if row.must is None else f"{sign} {row.form.format(row.must)}"
    if one.summary is None:
        return (row.title, one.absent or "not measured", "", "", must, "")
    title = f"{row.title} ({one.case})" if row.case.startswith("*") and one.case not in row.title else row.title
    reached = {None: "", True: "yes", False: "**no**"}[one.reached]
    span = f"{row.form.format(one.summary.least).split(' ')[0]}–{row.form.format(one.summary.most)}"
    return (title, row.form.format(one.summary.median), span, str(one.summary.count), must, reached)


def _by_case(lines: Sequence[Line], figure: str, value: str = "ratio") -> Iterator[tuple[str, list[Line]]]:
    values = [line for line in lines if line["figure"] == figure and value in line]
    for case in dict.fromkeys(line["case"] for line in values):
        yield case, [line for line in values if line["case"] == case]


def _median(lines: Sequence[Line], value: str) -> float:
    return stats.summary([line[value] for line in lines]).median
