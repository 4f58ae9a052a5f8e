"""What the commands show on a terminal: text of a width, its colours, a progress line."""

from __future__ import annotations

import io
import sys

import pytest

from outbox.cli.console import Console
from outbox.cli.progress import BAR, Progress
from outbox.cli.tables import Column, print_pairs, print_table
from outbox.cli.text import Text, cell_len


class Screen(io.StringIO):
    """A terminal of 30 columns."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "30", "LINES": "10", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("Ann", 3), ("Zoë", 3), ("Zoe\u0308", 3), ("東京", 4), ("👍", 2), ("a\u200bb", 2), ("ｱ", 1)],
)
def test_a_terminals_columns(text: str, columns: int) -> None:
    """Wide characters take two, combining ones none."""
    assert cell_len(text) == Text(text).cell_len == columns


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("東京都", 5, "東京…"),
        ("東京都", 4, "東…"),
        ("ab", 1, "…"),
        ("ab", 0, ""),
    ],
)
def test_what_is_cut_ends_in_an_ellipsis(text: str, width: int, cut: str) -> None:
    """It fits, and a wide character is not halved."""
    assert Text(text).cut(width).plain == cut


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two three", ["one two", "three"]),
        ("  in two", ["  in two"]),
        ("  indented", ["", "indented"]),
        ("abcdefgh ij", ["abcdefgh", "ij"]),
        ("abcdefgh   ij", ["abcdefgh", "ij"]),
        ("abcdefghij", ["abcdefgh", "ij"]),
        ("ab abcdefghij k", ["ab", "abcdefgh", "ij k"]),
        ("trailing ", ["trailing"]),
        ("a\nb\n\nc", ["a", "b", "", "c"]),
        ("東京東京東 x", ["東京東京", "東 x"]),
    ],
)
def test_lines_are_broken_at_words(text: str, lines: list[str]) -> None:
    """A word that is wider than the line is broken itself; blanks at the end of a line are left out."""
    assert [line.plain for line in Text(text).wrapped(8)] == lines


def test_a_style_goes_with_its_text_over_the_lines() -> None:
    """Each line begins and ends its own colours."""
    (first, second) = Text.assemble("a ", ("red words", "bold red")).wrapped(6)
    assert (first.ansi(), second.ansi()) == ("a " + _red("red"), _red("words"))


def test_a_pipe_gets_whole_lines_without_colours() -> None:
    """For grep and awk, whatever is asked for on terminals."""
    paper = io.StringIO()
    print_table(
        Console(paper),
        [Column("ID", right=True), Column("RECIPIENT", ratio=1), Column("STATE")],
        [[Text("7"), Text("a@" + "long." * 20 + "example"), Text("sent", style="green")]],
    )
    print_pairs(Console(paper), [("subject", Text("word " * 40)), ("to", Text("東京"))])
    assert paper.getvalue().splitlines() == [
        "ID  " + "RECIPIENT".ljust(109) + "  STATE",
        " 7  a@" + "long." * 20 + "example  sent",
        "  subject  " + ("word " * 40).rstrip(),
        "  to       東京",
    ]


def test_a_terminal_gets_what_fits() -> None:
    """Columns with a ratio are cut, values go on below themselves, columns stay aligned beside wide characters."""
    screen = Screen()
    rows = [["7", "a@" + "long." * 20, "sent"], ["11", "東京都", "failed"]]
    columns = [Column("ID", right=True), Column("RECIPIENT", ratio=1), Column("STATE")]
    print_table(Console(screen), columns, [[Text(cell) for cell in row] for row in rows])
    print_pairs(Console(screen), [("subject", Text("nobody was found at that address"))])
    print_pairs(Console(screen), [("x" * 40, Text("down"))])
    lines = screen.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "").splitlines()
    assert lines == [
        "ID  RECIPIENT           STATE",
        " 7  a@long.long.long.…  sent",
        "11  東京都              failed",
        "  subject  nobody was found at",
        "           that address",
        "  xxxxxxxxxxxxxx…  down",
    ]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variables that all programs follow."""
    screen = Screen()
    Console(screen).print(Text("red", style="red"))
    assert screen.getvalue() == "\x1b[31mred\x1b[0m\n"
    monkeypatch.setenv(name, value)
    Console(screen).print(Text("plain", style="red"))
    assert screen.getvalue().endswith("\nplain\n")


@pytest.mark.parametrize(
    ("done", "total", "full", "figures"),
    [
        (0, 4, 0, " 0/4 -:--:--"),
        (1, 4, BAR // 4, " 1/4 0:00:"),
        (4, 4, BAR, " 4/4 0:00:00"),
        (0, 0, BAR, " 0/0 -:--:--"),
    ],
)
def test_the_bar_grows_with_what_is_done(done: int, total: int, full: int, figures: str) -> None:
    """And says how long the rest takes at the pace so far."""
    bar = Progress("sending", total, keep=True)
    bar.done = done
    line = bar.line(80).plain
    assert line.startswith("sending " + "#" * full + "-" * (BAR - full) + figures)


def test_a_total_that_is_not_known_is_a_lower_bound() -> None:
    """And no time is promised for it."""
    bar = Progress("draining", 10_500, keep=True)
    bar.done, bar.at_least = 500, True
    assert bar.line(80).plain.endswith(" 500/10,500+ -:--:--")


@pytest.mark.parametrize("width", [0, 1, 10, 25, 80])
def test_progress_fits_the_terminal(width: int) -> None:
    """A line that is too wide would scroll the terminal at each step."""
    assert Progress("sending", 10_000_000).line(width).cell_len <= width
    assert Progress("looking").line(width).cell_len <= width


def test_what_is_written_meanwhile_stays_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, on a line of its own; the last state of a bar that is kept stays below it."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with Progress("sending", 2, keep=True, after=60) as bar:
        bar._draw()
        sys.stderr.write("a war")
        bar._draw()
        print("ning", file=sys.stderr)
        bar.done = 2
    assert sys.stderr is screen
    assert _shown(screen.getvalue()) == ["a warning", f"sending {'#' * 9} 2/2 0:00:00"]


def _red(text: str) -> str:
    return f"\x1b[31m\x1b[1m{text}\x1b[0m"


def _shown(written: str) -> list[str]:
    """The lines that are left when the terminal has obeyed carriage returns and erasures."""
    lines = []
    for line in written.split("\n"):
        seen = line.rpartition("\r\x1b[K")[2].rstrip("\r")
        lines.append(seen.replace("\x1b[32m", "").replace("\x1b[2m", "").replace("\x1b[0m", ""))
    return [line for line in lines if line]
