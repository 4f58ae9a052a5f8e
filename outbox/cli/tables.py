"""Tables and pairs: fitted to the terminal; in a pipe one whole line each, for grep and awk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from outbox.cli.console import Console
from outbox.cli.options import COLOURS, age, fault
from outbox.cli.output import safe
from outbox.cli.text import Text, cell_len
from outbox.operations import Row

GAP = 2
INDENT = 2


@dataclass(frozen=True, slots=True)
class Column:
    """`ratio`: its share of the width that is left over; None: as wide as its content, never cut.

    `wrap`: what is wider goes on below, and is not cut.
    """

    head: str
    ratio: int | None = None
    right: bool = False
    wrap: bool = False


def print_table(out: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
    """One line for each row; on a terminal the columns with a ratio are cut to fit, or wrapped."""
    heads = [Text(column.head, style="bold") for column in columns]
    lines = [heads, *rows] if any(column.head for column in columns) else list(rows)
    widths = [max((line[at].cell_len for line in lines), default=0) for at in range(len(columns))]
    if out.is_terminal:
        widths = _fitted(widths, columns, out.width)
    for line in lines:
        fitted = [
            list(cell.wrapped(max(width, 1))) if column.wrap and out.is_terminal else [cell.cut(width)]
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        for cells in zip_longest(*fitted, fillvalue=Text()):
            filled = [
                _filled(cell, width, right=column.right)
                for cell, width, column in zip(cells, widths, columns, strict=True)
            ]
            out.print_line(_joined(filled))


def print_pairs(out: Console, pairs: Sequence[tuple[str, Text]], *, most: Sequence[int] | None = None) -> None:
    """Names and values, indented; on a terminal long values go on below themselves, for `most` lines each."""
    width = max((cell_len(name) for name, _ in pairs), default=0)
    if out.is_terminal:
        width = min(width, out.width // 2)
    room = max(out.width - INDENT - width - GAP, 1)
    for at, (name, value) in enumerate(pairs):
        named = Text(name, style="dim").cut(width if out.is_terminal else cell_len(name))
        lines = list(value.wrapped(room)) if out.is_terminal else [value]
        for line in lines if most is None else _first(lines, most[at], room):
            out.print_line(Text(" " * INDENT) + _joined([_filled(named, width), line]))
            named = Text()


def _first(lines: list[Text], most: int, room: int) -> list[Text]:
    """At most so many, the last with an ellipsis if there are more."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], lines[most - 1].cut(room - 2) + Text(" …")]


def print_mails(out: Console, rows: Sequence[Row]) -> None:
    """Deliveries, as `outbox-list` and a dry run show them; with their environment where there are several."""
    several = len({row.environment for row in rows}) > 1
    columns = (
        *([Column("ENVIRONMENT")] if several else []),
        Column("ID", right=True),
        Column("STATE"),
        Column("AGE", right=True),
        Column("ERROR"),
        Column("RECIPIENT", ratio=1),
        Column("SUBJECT", ratio=1),
    )
    print_table(
        out,
        columns,
        [
            (
                *([Text(safe(row.environment or "-"))] if several else []),
                Text(str(row.id)),
                Text(row.state, style=COLOURS[row.state]),
                Text(age(row.age)),
                Text(safe(fault(row)), style="red"),
                Text(safe(row.recipient)),
                Text(safe(row.subject), style="dim"),
            )
            for row in rows
        ],
    )


def _fitted(widths: Sequence[int], columns: Sequence[Column], width: int) -> list[int]:
    """The widths of all columns on a terminal that is so wide."""
    fixed = sum(wide for wide, column in zip(widths, columns, strict=True) if column.ratio is None)
    flexible = _shares(widths, columns, max(width - fixed - GAP * (len(columns) - 1), 0))
    return [flexible.get(at, wide) for at, wide in enumerate(widths)]


def _shares(widths: Sequence[int], columns: Sequence[Column], room: int) -> dict[int, int]:
    """The widths of the columns that have a ratio: none wider than its content, what one leaves the others get."""
    open_ = {at for at, column in enumerate(columns) if column.ratio is not None}
    found: dict[int, int] = {}
    while open_:
        total = sum(columns[at].ratio or 0 for at in open_)
        share = {at: room * (columns[at].ratio or 0) // total for at in open_}
        modest = {at for at in open_ if widths[at] <= share[at]}
        for at in modest or open_:
            found[at] = max(1, min(widths[at], share[at]))
            room -= found[at]
        open_ -= modest or set(open_)
    return found


def _filled(text: Text, width: int, *, right: bool = False) -> Text:
    gap = " " * max(0, width - text.cell_len)
    return Text(gap) + text if right else text + Text(gap)


def _joined(cells: Sequence[Text]) -> Text:
    """One line of them, without blanks at its end."""
    line, *others = cells
    for cell in others:
        line = line + Text(" " * GAP) + cell
    return line.rstripped()
