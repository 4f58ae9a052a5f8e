"""What the pages can do, on the terminal: the same operations, the same filter words, and who did it in the audit."""

from __future__ import annotations

import time

import pytest

from outbox.delivery.states import State
from outbox.operations import audit, workers
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from outbox.web import filter_form
from tests.db.mails import put, worker
from tests.flask.terminal import Terminal
from tests.flask.test_cli import commands


def newest(terminal: Terminal) -> audit.Entry:
    """The newest entry of the audit."""
    with terminal.engine.connect() as connection:
        return audit.recent(connection)[0]


class TestOneMessage:
    """`outbox-pause --message` and `outbox-resume --message`."""

    def test_it_alone_waits(self, terminal: Terminal) -> None:
        """Until it is resumed; the audit says who did both, and why."""
        first, other = put(terminal.engine, "a@example.org", "b@example.org")
        done = terminal.here("outbox-pause", "--message", str(first), "--reason", "ask Ann first")
        assert (done.returncode, done.stdout) == (
            0,
            f"Paused message {first} until outbox-resume: 1 delivery queued now.\n",
        )
        entry = newest(terminal)
        assert (entry.action, entry.filters, entry.note) == ("pause", f"message {first}", "ask Ann first")
        assert "@" in entry.by
        assert terminal.json("outbox-status")[1]["held"] == 1
        assert "ask Ann first" in terminal.here("outbox-show", str(first)).stdout
        assert "ask Ann first" not in terminal.here("outbox-show", str(other)).stdout
        done = terminal.here("outbox-resume", "--message", str(first))
        assert (done.returncode, done.stdout) == (0, f"Resumed message {first}.\n")
        assert (newest(terminal).action, terminal.json("outbox-status")[1]["held"]) == ("resume", 0)

    def test_a_mistyped_id_pauses_nothing(self, terminal: Terminal) -> None:
        """Nor does one of another environment; exit code 1, and how to find the right one."""
        (other,) = put(terminal.engine, "a@example.org", posting=Posting(environment="staging"))
        for id in (4711, other):
            done = terminal.here("outbox-pause", "--message", str(id))
            assert (done.returncode, f"There is no delivery {id} here" in done.stderr) == (1, True)
        assert terminal.here("outbox-resume").stdout == "Nothing is paused.\n"
        assert terminal.here("outbox-pause", "--message", str(other), "--all-environments").returncode == 0


def test_resume_all_says_what_it_left(terminal: Terminal) -> None:
    """A pause of all environments is not lifted by who resumes those of one."""
    terminal.here("outbox-pause", "--kind", "news", "--all-environments")
    terminal.here("outbox-pause", "--kind", "other")
    done = terminal.here("outbox-resume", "--all")
    assert done.stdout.splitlines() == [
        "Resumed kind other.",
        "Some pauses are for all environments: --all-environments lifts them, too.",
    ]


class TestSendAgain:
    """`outbox-send-again`."""

    def test_it_is_a_new_message(self, terminal: Terminal) -> None:
        """To that recipient, queued; the audit says who and why, with both ids."""
        sent, _ = put(terminal.engine, "a@example.org", "b@example.org", state=State.SENT)
        dry = terminal.json("outbox-send-again", str(sent), "--dry-run")
        assert dry == (
            0,
            {"action": "send-again", "dry_run": True, "id": sent, "new_id": None, "recipient": "a@example.org"},
        )
        assert len(terminal.json("outbox-list")[1]) == 2
        done = terminal.here("outbox-send-again", str(sent), "--note", "deleted by mistake")
        new = terminal.json("outbox-list")[1][0]
        assert (
            done.stdout
            == f"Queued delivery {new['id']} for a@example.org: a new message with the content of delivery {sent}.\n"
        )
        assert (new["recipient"], new["state"]) == ("a@example.org", "queued")
        entry = newest(terminal)
        assert (entry.action, entry.delivery_ids, entry.note) == ("send-again", (sent, new["id"]), "deleted by mistake")
        assert "@" in entry.by

    @pytest.mark.parametrize("state", [State.FAILED, State.QUEUED])
    def test_only_what_was_sent(self, terminal: Terminal, state: State) -> None:
        """Exit code 1, and why."""
        (id,) = put(terminal.engine, "a@example.org", state=state)
        done = terminal.here("outbox-send-again", str(id))
        assert (done.returncode, f"a message that is {state} can't be sent again" in done.stderr) == (1, True)
        assert terminal.here("outbox-send-again", "4711").returncode == 1


class TestStopWorker:
    """`outbox-stop-worker`."""

    @pytest.mark.parametrize(("words", "what"), [((), "stop"), (("--drain",), "drain")], ids=["stop", "drain"])
    def test_a_running_worker_ends(self, terminal: Terminal, words: tuple[str, ...], what: str) -> None:
        """In good order, though nobody sent a signal; the audit says who asked."""
        terminal.env["OUTBOX_HEARTBEAT_SECONDS"] = "0.2"
        with terminal.started("outbox-sender") as process:
            (id,) = _ids(terminal)
            code, said = terminal.json("outbox-stop-worker", str(id), *words, "--yes", "--note", "new kernel")
            assert (code, said["action"], said["id"], said["alive"]) == (0, f"{what}-worker", id, True)
            assert process.wait(30) == 0
        entry = newest(terminal)
        assert (entry.action, entry.note, "@" in entry.by) == (f"{what}-worker", "new kernel", True)

    def test_the_last_one_is_asked_about(self, terminal: Terminal) -> None:
        """After it nothing is sent. Where another one runs there is no question; one that is gone is told."""
        worker(terminal.engine)
        (first,) = _ids(terminal)
        done = terminal.here("outbox-stop-worker", str(first))
        assert (done.returncode, "No other worker is running" in done.stderr, "--yes" in done.stderr) == (2, True, True)
        worker(terminal.engine, host="another")
        done = terminal.here("outbox-stop-worker", str(first))
        assert (done.returncode, done.stdout.startswith(f"Asked worker {first} (")) == (0, True)
        done = terminal.here("outbox-stop-worker", "4711")
        assert (done.returncode, "outbox-status" in done.stderr) == (1, True)

    def test_the_status_names_it(self, terminal: Terminal) -> None:
        """By the ID that the command takes."""
        worker(terminal.engine)
        (line,) = [one for one in terminal.here("outbox-status").stdout.splitlines() if one.startswith("  ID")]
        assert line.split()[:3] == ["ID", "HOST", "PID"]


class TestFilters:
    """The filter's words."""

    def test_they_are_those_of_the_pages(self) -> None:
        """Each word of an address bar is an option of outbox-list, and the other way round."""
        options = {option.removeprefix("--") for one in commands()["outbox-list"].params for option in one.opts}
        own = {"limit", "before", "after", "json", "csv", "all-environments"}
        assert set(filter_form.FIELDS) == options - own

    def test_what_waits(self, terminal: Terminal) -> None:
        """Due, scheduled and deferred are three lists; to send the deferred ones now is one command."""
        (due,) = put(terminal.engine, "due@example.org")
        (later,) = put(terminal.engine, "later@example.org", delivery={"due_at": DbNow(3600)})
        (again,) = put(
            terminal.engine, "again@example.org", delivery={"due_at": DbNow(3600), "attempts": 1, "code": 450}
        )
        for word, id in (("due", due), ("scheduled", later), ("deferred", again)):
            assert [row["id"] for row in terminal.json("outbox-list", "--waits", word)[1]] == [id], word
        assert terminal.here("outbox-list", "--waits", "due", "--state", "failed").returncode == 2
        done = terminal.here("outbox-send-now", "--waits", "deferred")
        assert (done.stdout, done.stderr) == ("1 delivery made due now.\n", "")  # the state need not be said
        assert terminal.json("outbox-list", "--waits", "deferred")[1] == []
        assert newest(terminal).filters == "state=queued waits=deferred"

    def test_times_and_order(self, terminal: Terminal) -> None:
        """From and until are times of enqueuing; the oldest first has its pages, too."""
        old, new = put(terminal.engine, "old@example.org", ago=7200), put(terminal.engine, "new@example.org")
        rows = terminal.json("outbox-list", "--until", "2999-01-01", "--from", "2001-01-01")[1]
        assert [row["id"] for row in rows] == [*new, *old]
        assert terminal.json("outbox-list", "--from", "2999-01-01")[1] == []
        page = terminal.here("outbox-list", "--order", "oldest", "--limit", "1")
        assert ("old@example.org" in page.stdout, f"--after {old[0]}" in page.stderr) == (True, True)
        rest = terminal.json("outbox-list", "--order", "oldest", "--after", str(old[0]))[1]
        assert [row["id"] for row in rest] == new
        for words in (["--after", "1"], ["--order", "oldest", "--before", "1"], ["--from", "soon"]):
            assert terminal.here("outbox-list", *words).returncode == 2

    def test_metadata(self, terminal: Terminal) -> None:
        """By name and value."""
        (id,) = put(terminal.engine, "a@example.org", posting=Posting(metadata={"order": "4711"}))
        put(terminal.engine, "b@example.org")
        assert [row["id"] for row in terminal.json("outbox-list", "--metadata", "order=4711")[1]] == [id]

    def test_the_audit_between_two_times(self, terminal: Terminal) -> None:
        """By the words that the page of it has."""
        terminal.here("outbox-pause", "--kind", "news")
        assert len(terminal.json("outbox-audit", "--from", "2001-01-01", "--until", "2999-01-01")[1]) == 1
        assert terminal.json("outbox-audit", "--from", "2999-01-01")[1] == []
        assert terminal.json("outbox-audit", "--until", "2001-01-01")[1] == []


def _ids(terminal: Terminal) -> list[int]:
    """Of the workers, once one is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with terminal.engine.connect() as connection:
            if found := [one.id for one in workers(connection, dead_after=20)]:
                return found
    raise AssertionError("no worker has started")
