"""The operators' commands, as processes: what they print, what they change, how they end."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from importlib import import_module

import click
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from outbox.delivery.states import State
from outbox.models import OutboxAttempt, OutboxMessage
from outbox.operations import Filter, find, pauses, requeue, wire
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from outbox.store.types import DbNow
from tests.db.mails import put, worker
from tests.flask.terminal import COLUMNS, ROOT, SGR, Terminal

EVIL = "\x1b[31m\x1b]0;owned\x07\x9b2J[bold red]markup[/] \u202egnp.exe :smile: \ud7ff"
REFUSED = {"code": 550, "enhanced": "5.1.1", "reply": "no such user", "reason": "refused"}


def commands() -> dict[str, click.Command]:
    """The commands by their names in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {}
    for name, target in project["entry-points"]["flask.commands"].items():
        module, _, attribute = target.partition(":")
        found[name] = getattr(import_module(module), attribute)
    return found


def test_the_entry_points_are_the_commands() -> None:
    """Each is there under its name, so that `flask` and `manage.py` have it."""
    assert {name: command.name for name, command in commands().items()} == {name: name for name in commands()}


@pytest.mark.parametrize("name", commands())
def test_help_has_an_example_and_fits(name: str) -> None:
    """Within 80 columns, with a line that can be typed."""
    shown = CliRunner().invoke(commands()[name], ["--help"], terminal_width=COLUMNS).output
    assert f"  {name}" in shown.partition("Example")[2]
    assert all(len(line) <= COLUMNS for line in shown.splitlines())


@pytest.mark.parametrize("name", commands())
def test_the_manual_has_every_command_and_option(name: str) -> None:
    """docs/commands.md leaves nothing out."""
    manual = (ROOT / "docs" / "commands.md").read_text()
    section = manual.partition(f"## {name}\n")[2].partition("\n## ")[0]
    shared = manual.partition("## Filters\n")[2].partition("\n## ")[0]
    options = [option for parameter in commands()[name].params for option in parameter.opts if option.startswith("--")]
    assert section
    assert [option for option in options if f"`{option}" not in section + shared] == []


class TestStatus:
    """`outbox-status`."""

    def test_healthy_ends_in_0(self, terminal: Terminal) -> None:
        """Nothing due, nobody needed: all six states, null for what there is not."""
        done = terminal.run("outbox-status", "--json")
        assert done.returncode == 0
        seen = json.loads(done.stdout)
        assert seen["states"] == {str(state): 0 for state in State}
        assert (seen["oldest_due_seconds"], seen["workers"]) == (None, [])
        assert (seen["healthy"], seen["problems"]) == (True, [])

    def test_degraded_ends_in_1(self, terminal: Terminal) -> None:
        """Mail is due and nobody sends it."""
        put(terminal.engine, ago=400)
        worker(terminal.engine, heartbeat=100)
        done = terminal.run("outbox-status", "--json")
        assert done.returncode == 1
        seen = json.loads(done.stdout)
        assert seen["healthy"] is False
        assert len(seen["problems"]) == 2
        assert seen["oldest_due_seconds"] == pytest.approx(400, abs=30)
        assert seen["workers"][0]["alive"] is False

    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ({}, "alembic upgrade head"),
            ({"OUTBOX_DATABASE_URL": "sqlite:////nowhere/at/all.sqlite"}, "/nowhere/at/all.sqlite"),
            ({"OUTBOX_DATABASE_URL": "postgresql+psycopg://me:secret@127.0.0.1:1/x"}, "127.0.0.1:1"),
            ({"OUTBOX_POLL_SECOND": "1", "MAIL_PORT": "x"}, "OUTBOX_POLL_SECOND"),
            ({"OUTBOX_DATABASE_URL": ""}, "OUTBOX_DATABASE_URL"),
        ],
        ids=["not migrated", "no file", "no server", "faults of the configuration", "no database"],
    )
    def test_cannot_tell_ends_in_2(self, bare: Terminal, env: dict[str, str], words: str) -> None:
        """One clear message on stderr, no traceback, no password; with --json still one object."""
        done = bare.run("outbox-status", "--json", env=env)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr + done.stdout
        seen = json.loads(done.stdout)
        assert seen["healthy"] is False
        assert (set(seen["states"].values()), seen["oldest_due_seconds"], seen["workers"]) == ({None}, None, [])

    def test_a_file_that_is_not_there_is_not_made(self, bare: Terminal) -> None:
        """A mistaken path is told, and leaves no empty database behind; nor does a worker."""
        for words in (["outbox-status"], ["outbox-list"], ["outbox-check"], ["outbox-requeue", "1"]):
            done = bare.here(*words)
            assert done.returncode in (1, 2)
            assert "there is no database at sqlite:///" in done.stdout + done.stderr
        assert bare.run("outbox-sender", "--once").returncode == 2
        assert not list(bare.folder.glob("*.sqlite*"))

    def test_an_application_without_outbox_ends_in_2(self, bare: Terminal) -> None:
        """It says what to do about it."""
        (bare.folder / "trial.py").write_text("import flask\napp = flask.Flask('shop')\n")
        done = bare.run("outbox-status")
        assert (done.returncode, "init_app" in done.stderr, "Traceback" in done.stderr) == (2, True, False)

    def test_an_application_that_breaks_ends_in_2(self, bare: Terminal) -> None:
        """1 would mean "degraded"; the traceback is there, for this nobody expected."""
        (bare.folder / "trial.py").write_text("def create_app():\n    raise KeyError('x')\n")
        done = bare.run("outbox-status")
        assert (done.returncode, "Traceback" in done.stderr) == (2, True)

    def test_it_is_plain_in_a_pipe_and_coloured_on_a_terminal(self, terminal: Terminal) -> None:
        """The same words; within 80 columns; nothing hostile reaches the terminal."""
        put(
            terminal.engine, f"{'x' * 60}@{'long.' * 20}example", state=State.FAILED, delivery=REFUSED | {"reply": EVIL}
        )
        health = {"transport": {"name": EVIL, "state": "open", "error": EVIL * 3}, "per_second": 12.34}
        with terminal.engine.begin() as connection:
            pauses.pause(connection, What.KIND, EVIL.replace("\ud7ff", ""), by=EVIL, reason=EVIL)
        worker(terminal.engine, health=health, host=EVIL.replace("\ud7ff", ""))
        piped = terminal.run("outbox-status")
        with terminal.screen("outbox-status") as screen:
            shown = screen.to_end()
        assert (piped.returncode, screen.process.returncode) == (1, 1)
        assert "\x1b" not in piped.stdout
        assert SGR.search(shown)
        seen = SGR.sub("", shown)
        for words in (piped.stdout, seen):
            assert "The outbox is degraded" in words
            assert "[bold red]" in words.replace("\n", "")
            assert " 12.3 " in words
            assert words.replace("\n", "").isprintable()
        assert max(len(line) for line in seen.splitlines()) <= COLUMNS

    def test_it_fits_a_small_terminal(self, terminal: Terminal) -> None:
        """With many things wrong at once, all of it is on 24 lines, what is wrong first."""
        for number in range(6):
            put(terminal.engine, f"a@example{number}.org", state=State.FAILED, delivery=REFUSED)
        put(terminal.engine, ago=900)
        put(terminal.engine, state=State.UNCERTAIN)
        transport = {"name": "mail.example.org:587", "state": "open", "error": "535 5.7.8 bad password"}
        worker(terminal.engine, health={"transport": transport})
        with terminal.engine.begin() as connection:
            pauses.pause(connection, What.KIND, "newsletter", by="ann")
        with terminal.screen("outbox-status", lines=24) as screen:
            shown = SGR.sub("", screen.to_end()).splitlines()
        assert len(shown) <= 24
        assert "degraded" in shown[0]
        assert shown[-1] == "  and 3 more groups"

    def test_the_shape_is_what_waits_by_domain_and_age(self, terminal: Terminal) -> None:
        """A table that fits 80 columns; an object of its own in JSON; only where it is asked for."""
        put(terminal.engine, f"a@{'long.' * 20}example", *(f"b{n}@example.org" for n in range(12)), ago=7 * 60)
        with terminal.screen("outbox-status", "--shape") as screen:
            shown = SGR.sub("", screen.to_end())
        assert max(len(line) for line in shown.splitlines()) <= COLUMNS
        (all_, first, _) = shown.partition("1280+\n")[2].splitlines()
        assert (all_.split(), first.split()) == (
            ["all", "13", "0", "13", *"00000000"],
            ["example.org", "12", "0", "12", *"00000000"],
        )
        said = terminal.json("outbox-status", "--shape")[1]["shape"]
        assert (said["total"]["total"], said["domains"][0]["domain"]) == (13, "example.org")
        assert "shape" not in terminal.json("outbox-status")[1]

    def test_watch_goes_on_until_ctrl_c(self, terminal: Terminal) -> None:
        """It shows what changes, and ends with the exit code of the last look."""
        with terminal.screen("outbox-status", "--watch", "--interval", "0.2") as screen:
            screen.until("healthy")
            put(terminal.engine)
            screen.until("degraded")
            screen.process.send_signal(signal.SIGINT)
            screen.to_end()
        assert screen.process.returncode == 1

    def test_watch_says_what_a_small_terminal_does_not_show(self, terminal: Terminal) -> None:
        """Long problems and notes are cut first; then its last line counts what is missing."""
        put(terminal.engine, ago=900)
        long = "because " * 60
        with terminal.engine.begin() as connection:
            for domain in ("a.example", "b.example", "c.example"):
                pauses.pause(connection, What.DOMAIN, domain, by="ann", reason=long)
        for lines, last in ((24, "workers"), (12, "more lines: enlarge the terminal to see them")):
            with terminal.screen("outbox-status", "--watch", lines=lines) as screen:
                shown = SGR.sub("", screen.until(last)).replace("\x1b[K", "")
            assert "Ctrl-C to end" in shown
            assert all(f"paused: domain {letter}.example" in shown for letter in "abc")
            assert "mail is due and no worker is alive" in shown
            assert shown.count("because") < 20
        assert "… 6 more lines" in shown

    def test_watch_goes_on_without_a_database(self, bare: Terminal) -> None:
        """It says what is wrong, and when that was."""
        with bare.screen("outbox-status", "--watch", "--interval", "0.2") as screen:
            screen.until("The state of the outbox is ")
            bare.migrate()
            screen.until("healthy")

    def test_watch_needs_a_terminal(self, terminal: Terminal) -> None:
        """In a pipe it would never end."""
        assert terminal.run("outbox-status", "--watch").returncode == 2


class TestLook:
    """`outbox-list` and `outbox-show`."""

    def test_list_filters_and_pages(self, terminal: Terminal) -> None:
        """The words mean what `operations.Filter` says; one line each in a pipe, never cut."""
        long = f"{'x' * 60}@{'long.' * 20}example"
        failed = put(terminal.engine, "ann@example.org", state=State.FAILED, delivery=REFUSED)
        sent = put(terminal.engine, long, state=State.SENT, posting=Posting(kind="news"))
        words = ("--state", "failed", "--error", "5.1.1", "--since", "2h", "--domain", "example.org")
        assert [row["id"] for row in terminal.json("outbox-list", *words)[1]] == failed
        assert [row["id"] for row in terminal.json("outbox-list", "--kind", "news")[1]] == sent
        page = terminal.here("outbox-list", "--limit", "1")
        assert long in page.stdout
        assert f"--before {sent[0]}" in page.stderr
        assert "ann@example.org" in terminal.here("outbox-list", "--before", str(sent[0])).stdout
        assert terminal.here("outbox-list", "--recipient", "nobody@example.org").stdout == "No mail matches.\n"

    @pytest.mark.parametrize(
        "words", [["--since", "2"], ["--state", "lost"], ["--limit", "0"], ["--older-than", "9e9d"]]
    )
    def test_wrong_words_are_refused(self, terminal: Terminal, words: list[str]) -> None:
        """Exit code 2, and what is right."""
        done = terminal.here("outbox-list", *words)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)

    def test_show_tells_all_but_the_body(self, terminal: Terminal) -> None:
        """Envelope, headers, reply; the body only with --raw, which is the wire form to the byte."""
        (id,) = put(terminal.engine, state=State.FAILED, delivery=REFUSED, blob=b"\xff\x00" * 900)
        shown = terminal.here("outbox-show", str(id)).stdout
        for words in ("to@example.org", "from@example.org", "550 5.1.1 no such user", "Grüße", "<1@example.org>"):
            assert words in shown
        assert "body" not in shown
        raw = terminal.run("outbox-show", str(id), "--raw").stdout
        with terminal.engine.connect() as connection:
            whole = wire(connection, find(connection, Filter())[0].message_id)
        assert raw.encode().replace(b"\n", b"\r\n") == whole  # reading as text has made LF of CRLF
        assert terminal.json("outbox-show", str(id))[1]["message_id_header"] == "<1@example.org>"

    def test_show_tells_what_people_changed(self, terminal: Terminal) -> None:
        """Who requeued it, when and why, from the audit."""
        (id,) = put(terminal.engine, state=State.FAILED)
        with terminal.engine.begin() as connection:
            requeue(connection, Filter(ids=(id,)), by="ann", note="repaired")
        assert "requeue by ann: repaired" in terminal.here("outbox-show", str(id)).stdout
        assert [row["by"] for row in terminal.json("outbox-show", str(id))[1]["changes"]] == ["ann"]

    def test_show_says_how_long_it_is_until_it_is_due(self, terminal: Terminal) -> None:
        """And since when it has been."""
        (later,) = put(terminal.engine, "a@example.org", delivery={"due_at": DbNow(7200.0)})
        (now,) = put(terminal.engine, "b@example.org", ago=300, delivery={"due_at": DbNow(-240.0)})
        assert re.search(r"due +\S+ \S+ UTC \(in (2h|1h 59m)\)", terminal.here("outbox-show", str(later)).stdout)
        assert re.search(r"due +\S+ \S+ UTC \(4m( \ds)? ago\)", terminal.here("outbox-show", str(now)).stdout)

    def test_show_only_the_tries(self, terminal: Terminal) -> None:
        """One line each, and how many; as JSON an array."""
        (id,) = put(terminal.engine, state=State.FAILED)
        tried = {"phase": "rcpt", "verdict": "permanent", "code": 550, "reply": "no such user", "duration": 0.5}
        with terminal.engine.begin() as connection:
            connection.execute(
                sa.insert(OutboxAttempt).values(delivery_id=id, at=DbNow(), counted=True, fenced=False, **tried)
            )
        shown = terminal.here("outbox-show", str(id), "--attempts").stdout
        assert "permanent  550 no such user" in shown
        assert "Subject" not in shown
        assert shown.splitlines()[-1] == f"delivery {id}: 1 attempt, failed"
        assert [one["code"] for one in terminal.json("outbox-show", str(id), "--attempts")[1]] == [550]

    def test_show_writes_the_html_as_a_page(self, terminal: Terminal) -> None:
        """Readable for its owner alone, with a policy that denies all that calls out; 1 where there is none."""
        (plain,) = put(terminal.engine)
        (id,) = put(terminal.engine)
        skeleton = b"Content-Type: text/html\r\n\r\n<h1>Hello</h1><script>x</script>\r\n"
        with terminal.engine.begin() as connection:
            connection.execute(
                sa.update(OutboxMessage).where(OutboxMessage.id == 2).values(skeleton=skeleton, size=len(skeleton))
            )
        page = terminal.folder / "mail.html"
        done = terminal.here("outbox-show", str(id), "--html", str(page))
        assert (done.returncode, "mail.html" in done.stdout) == (0, True)
        policy, _, html = page.read_text().partition("\n")
        assert "default-src 'none'" in policy
        assert "<h1>Hello</h1>" in html
        assert page.stat().st_mode & 0o777 == 0o600
        assert "<h1>Hello</h1>" in terminal.here("outbox-show", str(id), "--html", "-").stdout
        assert terminal.here("outbox-show", str(plain), "--html", str(page)).returncode == 1
        assert terminal.here("outbox-show", str(id), "--html", str(page), "--raw").returncode == 2

    def test_show_of_what_is_not_there_ends_in_1(self, terminal: Terminal) -> None:
        """With the likely cause."""
        done = terminal.here("outbox-show", "4711")
        assert (done.returncode, "purged" in done.stderr) == (1, True)

    def test_hostile_text_stays_text(self, terminal: Terminal) -> None:
        """Subject, recipient, headers and reply can't move the cursor, nor speak rich's markup."""
        (id,) = put(terminal.engine, subject=EVIL, state=State.FAILED, delivery=REFUSED | {"reply": EVIL})
        for words in (["outbox-list"], ["outbox-show", str(id)], ["outbox-show", str(id), "--raw"]):
            with terminal.screen(*words) as screen:
                shown = SGR.sub("", screen.to_end())
            assert shown.replace("\n", "").isprintable(), shown
            assert all(len(line) <= COLUMNS or "--raw" in words for line in shown.splitlines())
            if "--raw" not in words:
                assert "[bo" in shown


@pytest.mark.parametrize(("table", "column"), [("outbox_message", "created_at"), ("outbox_delivery", "updated_at")])
def test_a_date_that_is_none_ends_no_list(terminal: Terminal, table: str, column: str) -> None:
    """Edited by hand, or restored badly: in words for people, null in JSON."""
    put(terminal.engine, "a@example.org")
    with terminal.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = 'long ago'")
    assert "a@example.org" in terminal.here("outbox-list").stdout
    assert terminal.here("outbox-show", "1").stdout.count("unreadable") == (column == "created_at")
    (listed,) = terminal.json("outbox-list")[1]
    assert listed[column] is None
