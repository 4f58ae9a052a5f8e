"""The parts of the benchmarks that need neither a server nor time."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from benchmarks import decisions, document, faces, mails, plots, processor, proxy, stats, table
from benchmarks.rows import ROWS, found
from benchmarks.sink import Accepted, Sink
from outbox.web import filter_form

DRAIN = next(row for row in ROWS if row.figure == "drain")
COST = {"bare": [8.0, 10.0], "cpu": 0.3, "memory": 80.0}


def test_a_rate_is_that_of_the_time_between() -> None:
    """Five events in one second are four intervals; the order of the moments does not matter."""
    assert stats.rate([0, 250_000_000, 1_000_000_000, 500_000_000, 750_000_000]) == 4.0
    with pytest.raises(ValueError, match="two moments"):
        stats.rate([1])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    """The nearest rank, never something between two values that nobody measured."""
    assert stats.percentile(list(range(100, 0, -1)), share) == value


def test_a_summary_has_median_and_range() -> None:
    """Of four repetitions the median is between the middle two."""
    assert stats.summary([4.0, 1.0, 3.0, 100.0]) == stats.Summary(3.5, 1.0, 100.0, 4)


def test_the_bare_loop_sends_different_mails_of_one_size() -> None:
    """Some 2 KB each, and no two with one Message-ID, or the sink could not tell them apart."""
    built = list(mails.wire(3))
    assert {len(mail) for mail in built} == {len(built[0])}
    assert 2000 < len(built[0]) < 3000
    assert len({line for mail in built for line in mail.split(b"\r\n") if line.startswith(b"Message-ID")}) == 3


LINES: list[dict[str, Any]] = [
    {"run": "1", "figure": "machine", "case": "on a machine"},
    *(
        {"run": "1", "figure": "drain", "case": "8 connections", "ratio": n, "rate": 9.0, **COST}
        for n in (0.9, 1.1, 1.0)
    ),
    {"run": "1", "figure": "drain", "case": "32 connections", "ratio": 0.5, "rate": 5.0, **COST},
    {"run": "1", "figure": "latency", "case": "postgresql", "p50": 2.5, "p99": 5.0, "samples": [1.0, 2.5, 5.0]},
    {"run": "1", "figure": "many", "case": "", "absent": "no such function"},
]


def test_a_row_counts_the_best_case_and_says_which() -> None:
    """Of several numbers of connections the one with the best median is what the worker can do."""
    best = found(DRAIN, LINES)
    assert best.case == "8 connections"
    assert best.summary == stats.Summary(1.0, 0.9, 1.1, 3)
    assert best.reached is True


def test_the_table_says_what_was_reached_missed_and_not_measured() -> None:
    """One line for each figure that is asked for, measured or not."""
    said = table.targets(LINES).splitlines()
    assert len(said) == len(ROWS) + 2
    assert len({len(line) for line in said}) == 1
    cells = {row[0]: row[1:] for row in ([cell.strip() for cell in line.split("|")[1:-1]] for line in said)}
    drain = cells["drain, one worker process, server answers at once (8 connections)"]
    assert drain == ["1.00", "0.90–1.10", "3", "≥ 1.00", "yes"]
    assert cells["commit → accepted, idle worker, PostgreSQL: p50"] == [
        "2.5 ms",
        "2.5–2.5 ms",
        "1",
        "≤ 2.0 ms",
        "**no**",
    ]
    assert cells["`enqueue_many`, of the rate of single calls"][0] == "no such function"
    assert cells["SQLite: drain"][0] == "not measured"


def test_the_report_has_every_drain() -> None:
    """Rates, CPU and memory stand beside the ratios."""
    report = table.report(LINES)
    assert "Measured on a machine." in report
    assert [line.split("|")[2].strip() for line in report.splitlines() if "answers at once:" in line] == ["9", "5"]


def test_a_decision_is_shown_where_it_was_measured_with_and_without() -> None:
    """Nothing is said of the others."""
    lines = [{"figure": "build", "case": "mail", "ours": ours, "flask_mail": 1000.0} for ours in (80.0, 90.0)]
    ((title, without, made),) = decisions.rows([*LINES, *lines])
    assert title.startswith("Bytes put together by hand")
    assert (without, made) == ("1,000 µs a mail", "85 µs a mail")


def test_newer_lines_replace_those_of_the_same_figure() -> None:
    """A figure can be measured again alone; a run of which nothing is left is forgotten with its machine."""
    newer = [{"run": "2", "figure": "drain", "case": "8 connections", "ratio": 2.0}]
    kept = document.merged(LINES, newer)
    assert [line["ratio"] for line in kept if line["figure"] == "drain"] == [2.0]
    assert [line["run"] for line in kept if line["figure"] in {"machine", "latency"}] == ["1", "1"]
    again = document.merged(kept, [{**line, "run": "3"} for line in LINES])
    assert {line["run"] for line in again} == {"3"}


def test_the_report_stands_between_its_marks() -> None:
    """What people wrote around it stays; without the marks nothing is written."""
    text = f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n"
    assert document.replaced(text, "new") == f"before\n{document.BEGIN}\n\nnew\n{document.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks"):
        document.replaced("no marks", "new")


@pytest.mark.parametrize("picture", [plots.drains, plots.latency])
@pytest.mark.parametrize("lines", [LINES, []])
def test_pictures_are_well_formed(picture: Callable[[list[dict[str, Any]]], str], lines: list[dict[str, Any]]) -> None:
    """With and without something to show; and whatever is a line can be seen."""
    drawn = ElementTree.fromstring(picture(lines))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert all("stroke" in one.attrib for kind in ("line", "polyline") for one in drawn.iter(f"{{*}}{kind}"))


def test_the_proxy_passes_on_every_byte_in_order_and_late() -> None:
    """A round trip takes its 20 ms at least, and what goes in comes out."""
    said = random.Random(1).randbytes(300_000)
    with socket.create_server(("127.0.0.1", 0)) as server, proxy.delaying(server.getsockname()[1], 20) as port:
        server.settimeout(10)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client, server.accept()[0] as served:
            start = time.monotonic()
            client.sendall(b"?")
            assert served.recv(1) == b"?"
            served.sendall(said)
            heard = b""
            while len(heard) < len(said):
                heard += client.recv(65_536)
            assert time.monotonic() - start >= 0.02
            assert heard == said
            client.shutdown(socket.SHUT_WR)
            assert served.recv(1) == b""


def test_every_page_that_is_timed_is_asked_in_words_that_it_knows() -> None:
    """A word that a page does not know filters nothing, and the time is that of another page."""
    words = {word for path in faces.PAGES.values() for word in parse_qs(urlsplit(path).query)}
    assert words <= {*filter_form.FIELDS, "before", "action", "scope"}


def test_processor_time_comes_first_with_what_it_is_of_each_reference() -> None:
    """Also how awake the machine was; a reference that was not there leaves its column empty."""
    quiet = {"wake": 60.0, "busy": 0.02, "steal": 0.001, "load": 0.5}
    lines = [
        {"figure": "processor", "case": case, "machine": n, "sender": n / 2, "server": n / 2, **more, **quiet}
        for n in (0.2, 0.3, 0.4)
        for case, more in (
            ("16 connections", {"rate": 2000.0, "share": 0.5, "of_bare": 1.5, "multiple": n * 10}),
            ("bare loop", {"rate": 4000.0, "share": 1.0, "of_bare": 1.0, "multiple": 6.0}),
        )
    ]
    said = table.report(lines)
    assert said.index("| 16 connections") < said.index("| figure")
    assert "| 16 connections   |        0.300 s | 0.200–0.400 |  3 | 0.150 s |  0.150 s |               1.50 |" in said
    assert "ran again after 60 µs (60 to 60), other work took 2% of the processors" in said
    assert "the bare loop sent 4,000 messages a second" in said
    multiple = next(row for row in ROWS if row.value == "multiple" and row.case == "16 connections")
    assert found(multiple, lines).reached is False


def test_a_window_counts_only_what_passes_within_it() -> None:
    """Not the start of the process, not the first quarter, not what comes after the last look."""

    class Watched:
        """A sink that takes a message every millisecond."""

        taken = 0

        def count(self) -> int:
            self.taken += 100
            return self.taken

        def accepted(self) -> list[Accepted]:
            return [Accepted(number * 1_000_000, "") for number in range(1000)]

    window = processor.Window(cast(Sink, Watched()), 1000, None)
    for _ in range(12):
        window.look(os.getpid())
    taken = window.taken()
    assert taken.rate == pytest.approx(1000)
    assert taken.machine == taken.sender < 5  # this process did nothing for these 600 messages
    with pytest.raises(RuntimeError, match="over too soon"):
        processor.Window(cast(Sink, Watched()), 100, None).taken()
