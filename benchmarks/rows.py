"""The rows of the table: which figure each is, and what it must reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from benchmarks import stats

Line = Mapping[str, Any]
"""One raw line: `figure`, `case`, and values by name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure that is asked for."""

    title: str
    figure: str
    case: str  # a pattern of cases; where several fit, the best counts
    value: str  # the name of the value in the raw lines
    must: float | None  # None: for comparison alone
    most: bool = False  # `must` is a most, not a least
    form: str = "{:.2f}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a row came to."""

    row: Row
    summary: stats.Summary | None  # None: not measured
    case: str = ""
    absent: str = ""  # why not

    @property
    def reached(self) -> bool | None:
        """None where nothing is asked, or nothing was measured."""
        if self.summary is None or self.row.must is None:
            return None
        if self.row.most:
            return self.summary.median <= self.row.must
        return self.summary.median >= self.row.must


_MS, _MB = "{:.1f} ms", "{:.0f} MB"
_RECORDING = ("multiple", 2.0, True)
_OTHER_DATABASE = ("multiple", 2.3, True)

ROWS = (
    Row(
        "processor time of 1,000 messages, worker and database, 16 connections",
        "processor",
        "16 connections",
        "machine",
        None,
        True,
        "{:.3f} s",
    ),
    Row("the same, of the bare recording loop's, 16 connections", "processor", "16 connections", *_RECORDING),
    Row("the same, of the bare recording loop's, 32 connections", "processor", "32 connections", *_RECORDING),
    Row("the same, of the bare recording loop's, the default of 4", "processor", "4 c*", "multiple", None, True),
    Row("the same, of the bare recording loop's, one connection", "processor", "1 c*", "multiple", 5.0, True),
    Row("SQLite: the same, of the bare recording loop's on PostgreSQL", "processor", "* SQLite", *_OTHER_DATABASE),
    Row("MariaDB: the same, of the bare recording loop's on PostgreSQL", "processor", "* MariaDB", *_OTHER_DATABASE),
    Row("drain, one worker process, server answers at once", "drain", "*", "ratio", 1.0),
    Row("the same, one connection", "drain", "1 connection", "ratio", None),
    Row("every commit slowed by 2 ms, 32 connections", "commits", "*", "ratio", 0.8),
    Row("server takes 20 ms for DATA, 64 connections", "server", "*", "ratio", 0.5),
    Row("20 ms round trip, one connection, against the bare loop over the same", "network", "*", "ratio", 2.0),
    Row("SQLite: drain", "sqlite", "*", "ratio", 0.7),
    Row("MariaDB: drain", "mariadb", "*", "ratio", 0.7),
    Row("two processes: drain", "processes", "*", "ratio", None),
    Row("drain with much queued, of the drain without", "flat", "* queued", "share", 0.9),
    Row("drain with a long history, of the drain without", "flat", "* in history", "share", 0.9),
    Row("drain with a snapshot open, of the drain without", "flat", "snapshot open", "share", 0.9),
    Row("the same in processor time: much queued", "flat", "* queued", "machine_share", 1.1, True),
    Row("the same in processor time: a long history", "flat", "* in history", "machine_share", 1.1, True),
    Row("the same in processor time: a snapshot open", "flat", "snapshot open", "machine_share", 1.1, True),
    Row("commit → accepted, idle worker, PostgreSQL: p50", "latency", "postgresql", "p50", 2, True, _MS),
    Row("commit → accepted, idle worker, PostgreSQL: p99", "latency", "postgresql", "p99", 6, True, _MS),
    Row("enqueue and commit → accepted, PostgreSQL: p50", "latency", "postgresql", "whole_p50", None, True, _MS),
    Row("the same: p99", "latency", "postgresql", "whole_p99", None, True, _MS),
    Row("handed to Postfix on this machine → accepted: p50", "latency", "Postfix", "whole_p50", None, True, _MS),
    Row("the same: p99", "latency", "Postfix", "whole_p99", None, True, _MS),
    Row("commit → accepted, idle worker, SQLite: p50", "latency", "sqlite", "p50", 15, True, _MS),
    Row("the same, PostgreSQL without NOTIFY: p50", "latency", "postgresql, polling*", "p50", None, True, _MS),
    Row(
        "the same with the worker in the web process, of that of a separate one, PostgreSQL: p50",
        "web",
        "postgresql, ratio",
        "ratio",
        1.0,
        True,
    ),
    Row("the same on SQLite", "web", "sqlite, ratio", "ratio", 1.0, True),
    Row(
        "the same on Celery and RabbitMQ, of Celery + Flask-Mail's: p50", "celery", "latency, ratio", "ratio", 1.2, True
    ),
    Row("drain on Celery and RabbitMQ, of Celery + Flask-Mail's", "celery", "drain, ratio", "ratio", 5.0),
    Row(
        "a view's transaction with one mail, of its rate without: PostgreSQL", "view", "postgresql, ORM", "ratio", 0.55
    ),
    Row("the same on SQLite", "view", "sqlite, ORM", "ratio", 0.55),
    Row("the same on MariaDB", "view", "mariadb, ORM", "ratio", 0.55),
    Row("the same with the row by textual SQL, PostgreSQL", "view", "postgresql, SQL", "ratio", None),
    Row(
        "a transaction with one rendered mail, of django-mailer's rate: PostgreSQL",
        "enqueue",
        "postgresql",
        "ratio",
        1.5,
    ),
    Row("the same on SQLite, both with WAL", "enqueue", "sqlite", "ratio", 1.5),
    Row("the same on MariaDB", "enqueue", "mariadb", "ratio", 1.5),
    Row(
        "its processor time in the application, of django-mailer's: PostgreSQL",
        "enqueue",
        "postgresql",
        "cpu_ratio",
        None,
        True,
    ),
    Row("`enqueue_many`, of the rate of single calls", "many", "*", "ratio", 3.0),
    Row("bytes of a mail built", "build", "*", "ours", 150, True, "{:.0f} µs"),
    Row("worker's memory, much queued, 32 connections", "flat", "* queued", "memory", 90, True, _MB),
    Row(
        "worker's memory, 10,000 with 5 MB queued, 4 connections", "memory", "* 4 connections", "memory", 200, True, _MB
    ),
    Row("worker's memory, 10,000 with 5 MB queued, 32 connections", "memory", "* 32 conn*", "memory", 200, True, _MB),
    Row("worker's CPU for 1,000 mails, 32 connections", "drain", "32 connections", "cpu", 0.35, True, "{:.2f} s"),
    Row("10 MB to 50 recipients: time of the transaction, of that to one", "together", "*", "ratio", 1.2, True),
    Row("the same: how often the content goes over the wire", "together", "*", "sent", 1.0, True),
    Row(
        "rates that never limit, PostgreSQL: processor time, of that without",
        "rates",
        "postgresql, rates",
        "multiple",
        1.1,
        True,
    ),
    Row("the same on MariaDB", "rates", "mariadb, rates", "multiple", 1.1, True),
    Row("the same on SQLite", "rates", "sqlite, rates", "multiple", 1.1, True),
    Row("the drain with such rates, of the drain without, PostgreSQL", "rates", "postgresql, rates", "share", 0.91),
    Row("the same on MariaDB", "rates", "mariadb, rates", "share", 0.91),
    Row("the same on SQLite", "rates", "sqlite, rates", "share", 0.91),
    Row("rows purged in a second, PostgreSQL", "purge", "postgresql*", "rows_per_second", 20_000, form="{:,.0f}"),
    Row("claims' p99 meanwhile, of that of the worst turn without", "purge", "postgresql*", "p99_share", 1.0, True),
    Row("the sink alone, mails a second", "sink", "*", "rate", 20_000, form="{:,.0f}"),
)


def found(row: Row, lines: Sequence[Line]) -> Found:
    """What `lines` say about the row: of several cases the best by its median."""
    cases: dict[str, list[float]] = {}
    absent = ""
    for line in lines:
        if line["figure"] != row.figure:
            continue
        absent = line.get("absent", absent)
        if fnmatchcase(line["case"], row.case) and row.value in line:
            cases.setdefault(line["case"], []).append(line[row.value])
    if not cases:
        return Found(row, None, absent=absent)
    summaries = {case: stats.summary(values) for case, values in cases.items()}
    best = (min if row.most else max)(summaries, key=lambda case: summaries[case].median)
    return Found(row, summaries[best], best)
