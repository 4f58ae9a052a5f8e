"""`outbox-audit` and `outbox-correct-recipient`: who did what, and another address."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.models import OutboxAudit, table_of
from outbox.operations import Filter, cancel, pauses, requeue
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from outbox.store.types import DbNow
from tests.db.mails import put, states
from tests.flask.terminal import COLUMNS, SGR, Terminal


@pytest.fixture
def changed(terminal: Terminal) -> list[int]:
    """Three changes: ann cancelled two and requeued one of them, ben paused a kind three days ago; their deliveries."""
    ids = put(terminal.engine, "a@example.org", "b@example.org")
    with terminal.engine.begin() as connection:
        pauses.pause(
            connection, What.KIND, "newsletter", by="ben@web-1.internal.example.org", reason="wrong link in it"
        )
        connection.execute(sa.update(table_of(OutboxAudit)).values(at=DbNow(-3 * 86_400.0)))
        cancel(connection, Filter(domain="example.org"), by="ann", note="sent by mistake, see ticket 12")
        requeue(connection, Filter(ids=(ids[0],)), by="ann")
    return ids


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), ["requeue", "cancel", "pause"]),
        (("--by", "ann"), ["requeue", "cancel"]),
        (("--action", "pause"), ["pause"]),
        (("--since", "1h"), ["requeue", "cancel"]),
        (("--id", "2"), ["cancel"]),
        (("--limit", "1"), ["requeue"]),
        (("--before", "2"), ["pause"]),
        (("--by", "nobody"), []),
    ],
)
def test_filters(words: tuple[str, ...], found: list[str], terminal: Terminal, changed: list[int]) -> None:
    """The newest first; an empty array where nothing matches."""
    code, said = terminal.json("outbox-audit", *words)
    assert (code, [one["action"] for one in said]) == (0, found)
    assert (terminal.here("outbox-audit", *words).stdout == "No entry matches.\n") is not bool(found)


def test_on_a_terminal(terminal: Terminal, changed: list[int]) -> None:
    """One line for each within 80 columns: when, what, how many, who, and by which words."""
    with terminal.screen("outbox-audit") as screen:
        head, *lines = SGR.sub("", screen.to_end()).splitlines()
    assert head.split() == ["TIME", "(UTC)", "ACTION", "COUNT", "BY", "WHAT"]
    assert max(len(line) for line in lines) <= COLUMNS
    assert [line.split()[2:5] for line in lines[:2]] == [["requeue", "1", "ann"], ["cancel", "2", "ann"]]
    assert "domain=example.org (se" in lines[1]
    piped = terminal.here("outbox-audit").stdout
    assert "  domain=example.org (sent by mistake, see ticket 12)" in piped
    assert "ben@web-1.internal.example.org" in piped


def test_nothing_yet(terminal: Terminal) -> None:
    """Said in words, and an empty array."""
    assert terminal.here("outbox-audit").stdout == "Nobody has changed anything yet.\n"
    assert terminal.json("outbox-audit") == (0, [])


def test_who_read_what_a_message_says(terminal: Terminal) -> None:
    """`outbox-show --raw` leaves an entry, once in an hour; it is listed only if asked for."""
    (id,) = put(terminal.engine)
    for _ in range(2):
        assert terminal.here("outbox-show", str(id), "--raw").returncode == 0
    assert terminal.json("outbox-audit")[1] == []
    (entry,) = terminal.json("outbox-audit", "--reads")[1]
    assert (entry["action"], entry["filters"], entry["delivery_ids"], "@" in entry["by"]) == (
        "read",
        "body",
        [id],
        True,
    )
    assert terminal.json("outbox-audit", "--action", "read")[1] == [entry]


def test_what_cannot_be_noted_is_shown_all_the_same(terminal: Terminal) -> None:
    """Who may run this can read the database, too; on stderr it says that it could not be noted."""
    (id,) = put(terminal.engine, "a@example.org")
    read_only = {"OUTBOX_DATABASE_URL": f"sqlite:///file:{terminal.folder / 'outbox.sqlite'}?mode=ro&uri=true"}
    done = terminal.run("outbox-show", str(id), "--raw", env=read_only)
    assert (done.returncode, "Subject: " in done.stdout) == (0, True)
    assert "It could not be noted in the audit that you read this: " in done.stderr
    assert terminal.json("outbox-audit", "--reads")[1] == []


class TestCorrect:
    """`outbox-correct-recipient`."""

    def test_it_is_queued_for_the_new_address(self, terminal: Terminal) -> None:
        """And the audit knows who did it, from what, to what, and why."""
        (id,) = put(terminal.engine, "anm@example.org", state=State.FAILED)
        dry = terminal.here("outbox-correct-recipient", str(id), "ann@example.org", "--dry-run")
        assert dry.stdout == f"Would queue delivery {id} for ann@example.org (was anm@example.org).\n"
        assert states(terminal.engine) == {id: "failed"}
        code, said = terminal.json("outbox-correct-recipient", str(id), "Ann <ann@example.org>", "--note", "typo")
        assert (code, said["was"], said["recipient"]) == (0, "anm@example.org", "ann@example.org")
        assert states(terminal.engine) == {id: "queued"}
        (entry,) = terminal.json("outbox-audit")[1]
        assert (entry["action"], entry["note"], entry["delivery_ids"]) == ("edit-recipient", "typo", [id])
        assert entry["filters"] == "anm@example.org → ann@example.org"

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("1", "ann@example.org"), 1, "sensitive (by its definition or OUTBOX_SENSITIVE_KINDS)"),
            (("2", "ann@example.org"), 1, "that is sent can't be corrected"),
            (("99", "ann@example.org"), 1, "99"),
            (("3", "nonsense"), 2, "ADDRESS"),
            (("3", "ann@example.org", "--environment", "staging"), 1, "environment"),
        ],
        ids=["sensitive", "sent", "no such", "no address", "another environment"],
    )
    def test_what_is_not_corrected(self, words: tuple[str, ...], code: int, said: str, terminal: Terminal) -> None:
        """With the reason, and nothing is changed; a password reset goes to nobody else."""
        put(terminal.engine, "x@example.org", posting=Posting(kind="password-reset"))
        put(terminal.engine, "x@example.org", state=State.SENT)
        put(terminal.engine, "x@example.org", state=State.FAILED)
        before = states(terminal.engine)
        done = terminal.here("outbox-correct-recipient", *words, env={"OUTBOX_SENSITIVE_KINDS": "password-reset"})
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert states(terminal.engine) == before
        assert {one["recipient"] for one in terminal.json("outbox-list")[1]} == {"x@example.org"}
