"""How the commands end when they can't do it: one message, one JSON value, nothing changed without a yes."""

from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa

from outbox.cli import commands
from outbox.delivery.states import State
from outbox.models import OutboxMessage, table_of
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import put, states
from tests.flask.terminal import COLUMNS, SGR, Terminal

WORDS = {  # of each command that has --json, with which it would work
    "outbox-audit": (),
    "outbox-batches": (),
    "outbox-cancel": ("1",),
    "outbox-check": (),
    "outbox-correct-recipient": ("1", "ann@example.org"),
    "outbox-create-tables": (),
    "outbox-dkim-key": ("june", "/nowhere/june.pem"),
    "outbox-digests": (),
    "outbox-effects": (),
    "outbox-erase": ("ann@example.org", "--yes"),
    "outbox-export": ("ann@example.org", "--to", "nowhere"),
    "outbox-keys": (),
    "outbox-kinds": (),
    "outbox-lint": ("--last", "1"),
    "outbox-list": (),
    "outbox-mark-sent": ("1",),
    "outbox-pause": ("--all",),
    "outbox-preview": (),
    "outbox-purge": ("--yes",),
    "outbox-requeue": ("1",),
    "outbox-resume": (),
    "outbox-rotate-keys": ("--yes",),
    "outbox-send-again": ("1",),
    "outbox-send-now": ("1",),
    "outbox-show": ("1",),
    "outbox-status": (),
    "outbox-stop-worker": ("1",),
    "outbox-suppress": ("ann@example.org",),
    "outbox-suppressions": (),
    "outbox-test-mail": ("ann@example.org",),
    "outbox-unsuppress": ("ann@example.org",),
}
NOT_THERE = "sqlite:////nowhere/at/all.sqlite"
NO_SERVER = "postgresql+psycopg://me:secret@127.0.0.1:1/x"


def with_json() -> set[str]:
    """The commands that have --json."""
    return {str(one.name) for one in commands.ALL.values() if any("--json" in option.opts for option in one.params)}


def test_each_command_with_json_is_among_them() -> None:
    """A new one can't be forgotten."""
    assert with_json() == WORDS.keys()


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize(
    ("env", "more"),
    [
        ({"OUTBOX_DATABASE_URL": NOT_THERE}, ()),
        ({"OUTBOX_DATABASE_URL": NO_SERVER}, ()),
        ({"OUTBOX_DATABASE_URL": ""}, ()),
        ({}, ("--no-such-option",)),
        ({}, ("--", "x", "y")),
    ],
    ids=["no file", "no server", "no database", "unknown option", "unexpected arguments"],
)
def test_json_is_one_value_also_where_it_fails(
    command: str, env: dict[str, str], more: tuple[str, ...], bare: Terminal
) -> None:
    """With the message of stderr in it, and without a password."""
    if command == "outbox-create-tables" and not more and "sqlite" in env["OUTBOX_DATABASE_URL"]:
        env = {"OUTBOX_DATABASE_URL": "sqlite:////proc/nowhere/x.sqlite"}  # it would make the file
    done = bare.here(command, *WORDS[command], "--json", *more, env=env)
    said = json.loads(done.stdout)
    assert done.returncode == (1 if command == "outbox-check" and not more else 2)
    assert ("Traceback" in done.stderr, "secret" in done.stderr + done.stdout) == (False, False)
    message = done.stderr.partition("Error: ")[2].strip()
    if command == "outbox-check" and not message:  # its findings are its answer
        assert said["ok"] is False
        return
    assert message
    assert message.partition("\n")[0][:60] in json.dumps(said, ensure_ascii=False).replace("\\n", "\n")


@pytest.mark.parametrize(
    "command",
    sorted(WORDS.keys() - {"outbox-create-tables", "outbox-dkim-key", "outbox-preview", "outbox-rotate-keys"}),
)
def test_without_tables(command: str, bare: Terminal) -> None:
    """One message that says how they are made."""
    bare.engine.connect().close()  # the file is there
    done = bare.here(command, *WORDS[command], "--json")
    assert json.loads(done.stdout)
    assert done.returncode == (1 if command == "outbox-check" else 2)
    assert "Traceback" not in done.stderr
    assert "outbox-create-tables" in done.stdout + done.stderr


def test_no_such_message_in_json(terminal: Terminal) -> None:
    """The answer is no, and still a value."""
    code, said = terminal.json("outbox-show", "4711")
    assert (code, said["exit_code"], "4711" in said["error"]) == (1, 1, True)


def test_nothing_found_in_json(terminal: Terminal) -> None:
    """An empty array, or an object with zeros."""
    assert terminal.json("outbox-list", "--state", "failed") == (0, [])
    assert terminal.json("outbox-requeue", "--state", "failed")[1]["changed"] == 0
    assert terminal.json("outbox-resume") == (0, {"action": "resume", "dry_run": False, "pauses": []})


def test_a_question_leaves_stdout_to_the_json(terminal: Terminal) -> None:
    """`outbox-requeue --json | jq` on a terminal: the question and its table are on stderr; a no is a value, too."""
    put(terminal.engine, "a@example.org", "b@example.org", state=State.FAILED)
    for answer, changed in (("n", None), ("y", 2)):
        with terminal.screen("outbox-requeue", "--state", "failed", "--json", piped=True) as screen:
            assert "b@example.org" in screen.until("? [y/N]")
            screen.type(f"{answer}\n")
            screen.to_end()
            assert screen.process.stdout is not None
            said = json.loads(screen.process.stdout.read())
        assert said.get("changed") == changed
    assert set(states(terminal.engine).values()) == {"queued"}


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("outbox-requeue", "1", "2"), State.FAILED),
        (("outbox-requeue", "--state", "failed"), State.FAILED),
        (("outbox-cancel", "--kind", "news"), State.QUEUED),
        (("outbox-mark-sent", "--state", "failed"), State.FAILED),
        (("outbox-send-now", "--kind", "news"), State.QUEUED),
        (("outbox-purge", "--older-than", "1m"), State.SENT),
        (("outbox-pause", "--kind", "news"), State.QUEUED),
        (("outbox-pause", "--all"), State.QUEUED),
        (("outbox-resume", "--kind", "news"), State.QUEUED),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_a_terminal_more_than_one_wants_a_yes(words: tuple[str, ...], state: State, terminal: Terminal) -> None:
    """Exit code 2, a message that says so, and nothing changed; with --yes it is done."""
    ago = -600.0 if state is State.QUEUED else 600.0
    put(terminal.engine, "a@example.org", "b@example.org", state=state, ago=ago, posting=Posting(kind="news"))
    if words[0] == "outbox-resume":
        terminal.here("outbox-pause", "--kind", "news", "--yes")
    before = (states(terminal.engine), terminal.json("outbox-list")[1][0]["due_at"])
    done = terminal.here(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no terminal to ask on, so nothing was changed. Add --yes" in done.stderr
    assert (states(terminal.engine), terminal.json("outbox-list")[1][0]["due_at"]) == before
    assert len(terminal.json("outbox-resume")[1]["pauses"]) == (words[0] == "outbox-resume")
    assert terminal.here(*words, "--dry-run").returncode == 0
    assert terminal.here(*words, "--yes").returncode == 0


@pytest.mark.parametrize(
    ("words", "put_as", "said"),
    [
        (("outbox-requeue", "--state", "sent"), State.SENT, "3 match, but they are sent; only failed, uncertain or"),
        (("outbox-requeue", "--kind", "news"), State.SENT, "3 match, but they are sent; only failed, uncertain or"),
        (("outbox-requeue", "--kind", "news"), State.CANCELLED, "they are cancelled. Add --state cancelled"),
        (("outbox-cancel", "--kind", "news"), State.FAILED, "3 match, but they are failed. Add --state failed"),
        (("outbox-mark-sent", "--kind", "news"), State.QUEUED, "they are queued; only failed or uncertain mail"),
        (("outbox-send-now", "--kind", "news"), State.QUEUED, "3 match, but they are due already."),
        (("outbox-purge", "--kind", "news"), State.SENT, "3 match, but they ended less than 30d ago."),
        (("outbox-purge", "--kind", "news"), State.FAILED, "3 match, but they are failed."),
        (
            ("outbox-list", "--state", "failed", "--kind", "news"),
            State.SENT,
            "No mail is failed: 3 match, but they are",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_filter_that_finds_nothing_says_why(
    words: tuple[str, ...], put_as: State, said: str, terminal: Terminal
) -> None:
    """What matches in another state, and what can be done."""
    put(terminal.engine, *(f"{name}@example.org" for name in "abc"), state=put_as, posting=Posting(kind="news"))
    done = terminal.here(*words)
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout
    if words[0] != "outbox-list":
        assert terminal.json(*words)[1]["other_states"] == {str(put_as): 3}


def test_one_that_is_found_in_two_states(terminal: Terminal) -> None:
    """How many in each."""
    put(terminal.engine, "a@example.org", "b@example.org", state=State.SENT)
    put(terminal.engine, "c@example.org", state=State.QUEUED)
    assert "3 match, but 1 is queued and 2 are sent;" in terminal.here("outbox-mark-sent", "--search", "@").stdout


def test_a_long_message_goes_on_at_a_word(bare: Terminal) -> None:
    """On a terminal of 80 columns; in a pipe it is one line."""
    bare.engine.connect().close()
    piped = bare.run("outbox-show", "1").stderr
    with bare.screen("outbox-show", "1") as screen:
        shown = SGR.sub("", screen.to_end())
    assert piped.count("\n") == 1
    assert shown.count("\n") > 1
    assert max(len(line) for line in shown.splitlines()) <= COLUMNS
    assert shown.split() == piped.split()


def test_wrong_use_is_shown_with_the_usage(terminal: Terminal) -> None:
    """As click shows it."""
    done = terminal.here("outbox-list", "--stat", "failed")
    assert re.match(
        r"Usage: .*outbox-list \[OPTIONS\]\nTry '.*--help' for help\.\n\nError: No such option", done.stderr
    )


def test_the_source_of_a_redacted_message(terminal: Terminal) -> None:
    """Says that it is gone, since when, and ends in 1; nothing is on stdout that could be taken for the message."""
    (id,) = put(terminal.engine, state=State.SENT, posting=Posting(kind="password-reset"))
    with terminal.engine.begin() as connection:
        connection.execute(sa.update(table_of(OutboxMessage)).values(redacted_at=DbNow(), skeleton=b""))
    done = terminal.here("outbox-show", str(id), "--raw")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"The content of delivery {id} was redacted at 20" in done.stderr
