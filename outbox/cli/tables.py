"""Tables and pairs: fitted to the terminal; in a pipe one whole line each, for grep and awk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from outbox.cli.base import safe
from outbox.cli.words import COLOURS, age, fault
from outbox.operations import Row

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
INDENT = 2


@dataclass(frozen=True, slots=True)
class Column:
    """`ratio`: its share of the width that is left over; None: as wide as its content, never cut."""

    head: str
    ratio: int | None = None
    right: bool = False


def print_table(out: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
    """One line for each row; on a terminal the columns with a ratio are cut to fit."""
    heads = [Text(column.head, style="bold") for column in columns]
    lines = [heads, *rows] if any(column.head for column in columns) else list(rows)
    widths = [max((line[at].cell_len for line in lines), default=0) for at in range(len(columns))]
    if not out.is_terminal:
        for line in lines:
            cells = [_filled(cell.plain, widths[at], right=columns[at].right) for at, cell in enumerate(line)]
            out.print(Text((" " * GAP).join(cells).rstrip()))
        return
    fixed = sum(width for width, column in zip(widths, columns, strict=True) if column.ratio is None)
    room = out.width - fixed - GAP * (len(columns) - 1)
    flexible = _shares(widths, columns, max(room, 0))
    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for at, column in enumerate(columns):
        grid.add_column(
            width=flexible.get(at, widths[at]),
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if column.right else "left",
        )
    for line in lines:
        grid.add_row(*line)
    out.print(grid)


def print_pairs(out: Console, pairs: Sequence[tuple[str, Text]]) -> None:
    """Names and values, indented; on a terminal long values go on below themselves."""
    width = max((cell_len(name) for name, _ in pairs), default=0)
    if not out.is_terminal:
        for name, value in pairs:
            out.print(Text((" " * INDENT + _filled(name, width) + " " * GAP + value.plain).rstrip()))
        return
    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column(width=INDENT - GAP + width + GAP, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(Text(" " * INDENT + name, style="dim"), value)
    out.print(grid)


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


def _filled(text: str, width: int, *, right: bool = False) -> str:
    gap = " " * max(0, width - cell_len(text))
    return gap + text if right else text + gap
