"""What the commands print on a terminal of 80 columns: lines that end at words, and the same words as in a pipe."""

from __future__ import annotations

import ast
import re

import pytest

from outbox.delivery.states import State
from outbox.operations import Filter, audit, cancel, pauses
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from outbox.store.types import DbNow
from tests.db.mails import put, worker
from tests.flask.terminal import COLUMNS, ROOT, SGR, Terminal

WHO = "their-provider-told-us.that-it-is-repaired@a-very-long-domain-name.of.another.example.org"
NOTE = "She rang: the address was right, their server was not. They repaired it, and told us at length why and how."
AGE = re.compile(r" \d+s\b")

NOWHERE = {"OUTBOX_DATABASE_URL": "postgresql+psycopg://me@127.0.0.1:1/the-shop"}
WRONG = {"OUTBOX_POLL_SECOND": "1", "MAIL_PORT": "a port that is not one, and a long one, too"}

COMMANDS = (
    "outbox-send-now --kind newsletter --dry-run",
    "outbox-requeue 1 2 3 --dry-run",
    "outbox-mark-sent --kind newsletter --dry-run",
    "outbox-cancel 4711 --dry-run",
    "outbox-resume",
    "outbox-resume --kind nope",
    "outbox-audit",
    "outbox-purge --dry-run --kind a-kind-whose-name-is-long-enough-to-need-the-whole-of-a-line",
    "outbox-create-tables",
    "outbox-dkim-key june /nowhere/at/all/and/the/path/of/it/is/long/june.pem",
    "outbox-correct-recipient 1 nowhere",
    "outbox-correct-recipient 4711 ann@example.org",
    "outbox-send-again 2",
    "outbox-stop-worker 4711",
    "outbox-erase ann@example.org",
    "outbox-export ann@example.org --to /nowhere/at/all/ann.zip",
    "outbox-pause --message 4711",
    "outbox-show 4711",
    "outbox-test-mail nowhere",
    "outbox-list --since soon",
    "outbox-list --waits due --state failed",
)


@pytest.fixture
def used(terminal: Terminal) -> Terminal:
    """A terminal whose outbox people have worked with."""
    put(terminal.engine, "a@example.org", posting=Posting(kind="newsletter"), delivery={"due_at": DbNow(3600)})
    put(terminal.engine, "b@example.org", state=State.FAILED)
    worker(terminal.engine)
    with terminal.engine.begin() as connection:
        pauses.pause(connection, What.KIND, "newsletter", by=WHO, reason=NOTE)
        pauses.pause(connection, What.DOMAIN, "example.org", by=WHO, reason=NOTE, seconds=7200)
        cancel(connection, Filter(ids=(2,)), by=WHO, note=NOTE)
        audit.write(connection, "requeue", by=WHO, count=9, filters="id=1000001,1000002,1000003,1000004", note=NOTE)
    return terminal


@pytest.mark.parametrize("line", COMMANDS)
def test_lines_end_at_words(used: Terminal, line: str) -> None:
    """Nothing is cut, nothing is wider, and no word goes on in the next line but one that is wider than its column."""
    _compare(used, line, {})


@pytest.mark.parametrize("env", [NOWHERE, WRONG], ids=["no database", "faults of the configuration"])
@pytest.mark.parametrize("line", ["outbox-status", "outbox-list", "outbox-create-tables", "outbox-pause --all"])
def test_errors_end_at_words(bare: Terminal, line: str, env: dict[str, str]) -> None:
    """Each with its remedy."""
    shown = _compare(bare, line, env)
    if env is NOWHERE:
        assert "Check that the database runs, and that its address and password are right." in shown
        assert "?." not in shown


def test_a_test_mail_that_is_not_sent_is_told_at_words(terminal: Terminal) -> None:
    """Its steps and the worker's log lines, too."""
    with terminal.screen("outbox-test-mail", "ann@example.org") as screen:
        shown = SGR.sub("", screen.to_end())
    assert max(len(line) for line in shown.splitlines()) <= COLUMNS, shown
    words = " ".join(shown.split())
    assert "could not be sent through 127.0.0.1:1 and will be retried" in words
    assert 'status=transport-down transport=127.0.0.1:1 verdict=transport phase=connect reply="cannot connect' in words


def test_a_question_ends_at_words_and_no_is_no_error(terminal: Terminal) -> None:
    """It says that nothing was changed."""
    put(terminal.engine, "a@example.org", "b@example.org", posting=Posting(kind="a-kind-whose-name-is-long"))
    words = ("--kind", "a-kind-whose-name-is-long", "--domain", "example.org", "--yes", "--dry-run")
    assert terminal.here("outbox-pause", *words).returncode == 0
    with terminal.screen("outbox-pause", *words[:-2]) as screen:
        screen.until("[y/N]: ")  # with its blank, which is written separately: only then it waits
        screen.type("n\n")
        shown = SGR.sub("", screen.to_end())
    assert screen.process.returncode == 1
    assert "Pause kind a-kind-whose-name-is-long and domain example.org (4 deliveries\nqueued now)? [y/N]: n\n" in shown
    assert shown.endswith("Nothing was changed.\n")


def test_one_place_prints() -> None:
    """Every command prints by `say`, `remark` or a table, which wrap, and not by click or print itself."""
    found = [
        file.name
        for file in sorted((ROOT / "outbox" / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "click.secho", "print")
    ]
    assert set(found) == {"output.py"}  # JSON, and a message's own text


def _compare(terminal: Terminal, line: str, env: dict[str, str]) -> str:
    words = line.split()
    piped = terminal.run(*words, env=env)
    terminal.env |= env
    with terminal.screen(*words) as screen:
        shown = SGR.sub("", screen.to_end())
    assert screen.process.returncode == piped.returncode
    assert max(len(one) for one in shown.splitlines()) <= COLUMNS, shown
    assert "…" not in shown.replace("outbox-pause … ", "")
    if line not in ("outbox-audit", "outbox-resume", "outbox-create-tables"):  # columns, and a long address
        assert sorted(AGE.sub("", shown).split()) == sorted(AGE.sub("", piped.stdout + piped.stderr).split())
    return " ".join(shown.split())
