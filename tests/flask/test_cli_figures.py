"""Figures and files on the terminal: which kind fails most, and what matches as CSV."""

from __future__ import annotations

import csv
import io
import re
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.states import State
from outbox.models import OutboxMessage
from outbox.operations import events, find
from outbox.operations.csv_rows import COLUMNS
from outbox.operations.filters import Filter
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import put
from tests.flask.terminal import COLUMNS as WIDTH
from tests.flask.terminal import SGR, Terminal

ENDED = {"finished_at": DbNow(-60)}


def with_kinds(terminal: Terminal) -> None:
    """Of news most failed; what is deferred is of no kind."""
    for number in range(3):
        put(terminal.engine, f"n{number}@example.org", state=State.FAILED, posting=Posting(kind="news"), delivery=ENDED)
    put(terminal.engine, "s@example.org", state=State.SENT, posting=Posting(kind="news"), delivery=ENDED)
    put(terminal.engine, "r@example.org", state=State.FAILED, posting=Posting(kind="reset"), delivery=ENDED)
    put(
        terminal.engine,
        "old@example.org",
        state=State.FAILED,
        posting=Posting(kind="reset"),
        delivery={"finished_at": DbNow(-3 * 86_400)},
    )
    put(terminal.engine, "d@example.org", delivery={"due_at": DbNow(3600), "attempts": 1})


class TestKinds:
    """`outbox-kinds`."""

    def test_the_kind_that_fails_most_comes_first(self, terminal: Terminal) -> None:
        """With its share, and what of it is queued; it fits a terminal."""
        with_kinds(terminal)
        with terminal.screen("outbox-kinds", lines=24) as screen:
            lines = SGR.sub("", screen.to_end()).splitlines()
        assert [line.split() for line in lines] == [
            ["KIND", "FAILED", "%", "FAILED", "SENT", "P50", "UNCERTAIN", "QUEUED", "DEFERRED"],
            ["news", "3", "75.0", "1", "0ms", "0", "0", "0"],
            ["reset", "1", "100.0", "0", "-", "0", "0", "0"],
            ["(none)", "0", "-", "0", "-", "0", "1", "1"],
        ]
        assert all(len(line) <= WIDTH for line in lines)

    def test_the_time_is_asked_for(self, terminal: Terminal) -> None:
        """What ended within it; a day where nothing is said."""
        with_kinds(terminal)
        _, seen = terminal.json("outbox-kinds", "--since", "7d")
        assert seen["seconds"] == 7 * 86_400
        assert seen["kinds"][1] == {
            "kind": "reset",
            "sent": 0,
            "failed": 2,
            "failed_share": 1.0,
            "accepted_p50_seconds": None,
            "uncertain": 0,
            "queued": 0,
            "deferred": 0,
            "policy": None,
        }
        assert terminal.json("outbox-kinds", "--since", "10s")[1]["kinds"] == [
            {
                "kind": None,
                "sent": 0,
                "failed": 0,
                "failed_share": None,
                "accepted_p50_seconds": None,
                "uncertain": 0,
                "queued": 1,
                "deferred": 1,
                "policy": None,
            }
        ]
        assert terminal.here("outbox-kinds", "--since", "soon").returncode == 2

    def test_only_of_its_environment(self, terminal: Terminal) -> None:
        """Unless another is named, or all."""
        put(terminal.engine, "a@example.org", posting=Posting(kind="news", environment="staging"))
        assert terminal.here("outbox-kinds").stdout == "No mail ended in this time, and none is queued.\n"
        for words in (("--environment", "staging"), ("--all-environments",)):
            assert [row["kind"] for row in terminal.json("outbox-kinds", *words)[1]["kinds"]] == ["news"]


class TestCsv:
    """`outbox-list --csv`."""

    def test_it_is_what_the_pages_export(self, terminal: Terminal) -> None:
        """One line for each delivery, whole, without what a spreadsheet or a terminal could obey."""
        put(terminal.engine, "a@example.org", state=State.FAILED)
        put(terminal.engine, "b@example.org", state=State.SENT)
        with terminal.engine.begin() as connection:
            connection.execute(sa.update(OutboxMessage).values(subject="=1+1\x1b[2J, ü"))
        done = terminal.here("outbox-list", "--csv")
        head, *rows = csv.reader(io.StringIO(done.stdout))
        assert tuple(head) == COLUMNS
        assert [(row[2], row[3]) for row in rows] == [
            ("b@example.org", "'=1+1\\x1b[2J, ü"),
            ("a@example.org", "'=1+1\\x1b[2J, ü"),
        ]
        assert done.stderr == "2 deliveries.\n"
        assert "\r" not in done.stdout

    def test_it_takes_the_filters(self, terminal: Terminal) -> None:
        """And the order; its limit is that of a file, not that of a screen, and where it goes on is said."""
        put(terminal.engine, *(f"u{number}@example.org" for number in range(60)))
        put(terminal.engine, "f@example.org", state=State.FAILED)
        with terminal.engine.connect() as connection:
            ids = [row.id for row in find(connection, Filter(states=(State.QUEUED,)), limit=99)]
        done = terminal.here("outbox-list", "--csv", "--state", "queued")
        assert [row["id"] for row in csv.DictReader(io.StringIO(done.stdout))] == [str(id) for id in ids]
        done = terminal.here("outbox-list", "--csv", "--state", "queued", "--order", "oldest", "--limit", "2")
        assert [row["id"] for row in csv.DictReader(io.StringIO(done.stdout))] == [str(id) for id in ids[:-3:-1]]
        assert done.stderr == f"There is more: add --after {ids[-2]} for the next page.\n"

    def test_it_is_read_in_steps(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever their size: each delivery once."""
        put(terminal.engine, *(f"u{number}@example.org" for number in range(7)))
        monkeypatch.setattr("outbox.cli.list.STEP", 3)
        for words, wanted in (((), 7), (("--limit", "6"), 6), (("--order", "oldest"), 7)):
            done = terminal.here("outbox-list", "--csv", *words)
            ids = [row["id"] for row in csv.DictReader(io.StringIO(done.stdout))]
            assert len(set(ids)) == len(ids) == wanted

    def test_not_with_json(self, terminal: Terminal) -> None:
        """Stdout holds one or the other."""
        done = terminal.here("outbox-list", "--csv", "--json")
        assert (done.returncode, "exclude each other" in done.stderr) == (2, True)


def test_the_status_tells_what_was_reported(terminal: Terminal) -> None:
    """Of the last day, by type, and how many suppressions are in force; nothing where there is none."""
    assert "reported, last day" not in terminal.here("outbox-status").stdout
    settings = SimpleNamespace(address_digest_key=b"key", bounce_suppression_seconds=900.0)
    bounces = [
        ReportedEvent(EventType.BOUNCED, "report", str(number), recipient="ann@example.org") for number in range(2)
    ]
    events.record(terminal.engine, settings, bounces)
    shown = terminal.here("outbox-status").stdout
    assert re.search(r"reported, last day +2 bounced\n", shown), shown
    assert "suppressions" not in shown  # not proven: nothing follows
