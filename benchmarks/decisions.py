"""What a decision of the design bought: the same measurement without and with it, where both were measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarks import stats
from benchmarks.rows import Line


@dataclass(frozen=True, slots=True)
class Decision:
    """Two values: (figure, pattern of its case, value)."""

    title: str
    without: tuple[str, str, str]
    made: tuple[str, str, str]
    form: str


_RATE = "{:,.0f} mails/s"

DECISIONS = (
    Decision(
        "Bytes put together by hand, not by `email` as Flask-Mail does (0005)",
        ("build", "*", "flask_mail"),
        ("build", "*", "ours"),
        "{:,.0f} µs a mail",
    ),
    Decision(
        "Connections kept open, outside of the request; the worker has one (0003)",
        ("peers", "Flask-Mail*", "rate"),
        ("drain", "1 connection", "rate"),
        _RATE,
    ),
    Decision(
        "Outcomes of all connections committed together: 32 connections against one (0002)",
        ("drain", "1 connection", "rate"),
        ("drain", "32 connections", "rate"),
        _RATE,
    ),
    Decision(
        "Commands in one write (PIPELINING), 20 ms round trip: `smtplib` and the worker, one connection each",
        ("network", "*", "bare"),
        ("network", "*", "rate"),
        "{:,.1f} mails/s",
    ),
    Decision(
        "NOTIFY beside polling, half the mails accepted within (0002)",
        ("latency", "postgresql, polling alone", "p50"),
        ("latency", "postgresql", "p50"),
        "{:,.1f} ms",
    ),
)


def rows(lines: Sequence[Line]) -> Iterator[tuple[str, str, str]]:
    """(decision, without, with), medians."""
    for decision in DECISIONS:
        without, made = (_median(lines, *which) for which in (decision.without, decision.made))
        if without is not None and made is not None:
            yield decision.title, decision.form.format(without), decision.form.format(made)


def _median(lines: Sequence[Line], figure: str, case: str, value: str) -> float | None:
    found: list[float] = []
    for line in lines:
        if line["figure"] == figure and fnmatchcase(line["case"], case) and value in line:
            found += line[value] if isinstance(line[value], list) else [line[value]]
    return stats.summary(found).median if found else None
