"""The commands that change mail, as processes: what they touch, what they ask, how they end."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations import audit, pauses
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from tests.db.mails import put, states
from tests.flask.terminal import SGR, Terminal

REFUSED = {"code": 550, "enhanced": "5.1.1", "reply": "no such user", "reason": "refused"}


@pytest.mark.parametrize("command", ["outbox-requeue", "outbox-cancel", "outbox-mark-sent", "outbox-send-now"])
def test_nothing_selected_is_wrong_use(terminal: Terminal, command: str) -> None:
    """Nobody means all mail by saying nothing."""
    put(terminal.engine, state=State.FAILED)
    done = terminal.here(command)
    assert (done.returncode, "Nothing is selected" in done.stderr) == (2, True)
    assert list(states(terminal.engine).values()) == ["failed"]


def test_ids_are_changed_and_those_left_alone_are_named(terminal: Terminal) -> None:
    """Exit code 1 if one of them could not be; the last line says what was done."""
    failed, sent = put(terminal.engine, state=State.FAILED)[0], put(terminal.engine, state=State.SENT)[0]
    done = terminal.here("outbox-requeue", str(failed), str(sent), "999")
    assert done.returncode == 1
    assert f"Delivery {sent} is sent; only failed, uncertain or cancelled mail can be requeued" in done.stdout
    assert "Delivery 999 does not exist" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 delivery requeued."
    assert states(terminal.engine) == {failed: "queued", sent: "sent"}
    assert terminal.here("outbox-cancel", str(failed)).returncode == 0


def test_a_filter_without_state_means_failed_and_uncertain_mail(terminal: Terminal) -> None:
    """And says so; cancelled mail comes back only by name or by --state."""
    ids = {state: put(terminal.engine, state=state)[0] for state in State}
    code, said = terminal.json("outbox-requeue", "--domain", "example.org", "--yes")
    assert (code, said) == (
        0,
        {"action": "queued", "dry_run": False, "matched": 2, "changed": 2, "left_alone": {}},
    )
    now = states(terminal.engine)
    assert [state for state, id in ids.items() if now[id] != state] == [State.FAILED, State.UNCERTAIN]
    assert "failed and uncertain" in terminal.here("outbox-requeue", "--domain", "x.example").stderr


def test_a_dry_run_only_shows(terminal: Terminal) -> None:
    """Which mail, how many, and nothing is changed."""
    put(terminal.engine, "ann@example.org", state=State.FAILED, delivery=REFUSED)
    done = terminal.here("outbox-requeue", "--state", "failed", "--error", "5.1.1", "--since", "2h", "--dry-run")
    assert "ann@example.org" in done.stdout
    assert done.stdout.splitlines()[-1] == "Would requeue 1 delivery."
    assert list(states(terminal.engine).values()) == ["failed"]


@pytest.mark.parametrize(("answer", "after", "code"), [("n", "failed", 1), ("y", "queued", 0)])
def test_on_a_terminal_it_asks_before_it_touches_more_than_one(
    terminal: Terminal, answer: str, after: str, code: int
) -> None:
    """With the mail in question on the screen."""
    put(terminal.engine, "a@example.org", "b@example.org", state=State.FAILED)
    with terminal.screen("outbox-requeue", "--domain", "example.org") as screen:
        assert "b@example.org" in screen.until("Requeue 2 deliveries? [y/N]")
        screen.type(f"{answer}\n")
        screen.to_end()
    assert screen.process.returncode == code
    assert set(states(terminal.engine).values()) == {after}


def test_it_does_not_ask_for_one_or_with_yes(terminal: Terminal) -> None:
    """A person who names one mail, or says yes beforehand, has decided."""
    put(terminal.engine, "a@example.org", "b@example.org", state=State.FAILED)
    (one,) = put(terminal.engine, state=State.QUEUED)
    with terminal.screen("outbox-requeue", "--domain", "example.org", "--yes") as screen:
        assert "2 deliveries requeued." in screen.to_end()
    with terminal.screen("outbox-cancel", str(one)) as screen:
        assert "1 delivery cancelled." in screen.to_end()


def test_who_waits_for_more_than_a_second_sees_a_bar(terminal: Terminal) -> None:
    """On a terminal, while another holds the database; several transactions; the last line says what was done."""
    put(terminal.engine, *(f"r{number}@example.org" for number in range(2500)), state=State.UNCERTAIN)
    words = ("outbox-mark-sent", "--state", "uncertain", "--yes", "--note", "all rang up")
    with terminal.engine.begin() as other, terminal.screen(*words) as screen:  # holds SQLite's one lock
        screen.until(" marked as sent")
        other.rollback()
        shown = screen.to_end()
    assert SGR.sub("", shown).splitlines()[-1].endswith("2,500 deliveries marked as sent.")
    assert set(states(terminal.engine).values()) == {"sent"}
    with terminal.engine.connect() as connection:
        (row,) = audit.recent(connection)
    assert (row.action, row.count, row.filters, row.note) == ("mark-sent", 2500, "state=uncertain", "all rang up")


def test_purge_removes_what_is_old(terminal: Terminal) -> None:
    """By the retention, or as told; failed mail only if asked for."""
    put(terminal.engine, state=State.SENT, ago=8 * 86_400)
    put(terminal.engine, state=State.FAILED, ago=8 * 86_400, posting=Posting(kind="kept"))
    assert terminal.json("outbox-purge")[1]["purged"] == 0
    assert terminal.here("outbox-purge", "--older-than", "7d").stdout.startswith("1 message removed:")
    assert terminal.json("outbox-purge", "--older-than", "7d", "--failed")[1]["purged"] == 1
    assert states(terminal.engine) == {}


def test_purge_takes_the_filter_words(terminal: Terminal) -> None:
    """What matches goes; a dry run only says how much; the audit has who, how many and by which words."""
    put(terminal.engine, "a@example.org", state=State.SENT, ago=8 * 86_400, posting=Posting(kind="newsletter"))
    (stays,) = put(terminal.engine, "b@example.org", state=State.SENT, ago=8 * 86_400)
    words = ("outbox-purge", "--older-than", "7d", "--kind", "newsletter")
    assert terminal.here(*words, "--dry-run").stdout == (
        "Would remove the messages of up to 1 delivery: sent and cancelled mail older than 7d, kind=newsletter.\n"
    )
    assert len(states(terminal.engine)) == 2
    assert terminal.json(*words)[1]["purged"] == 1
    assert list(states(terminal.engine)) == [stays]
    with terminal.engine.connect() as connection:
        (row,) = audit.recent(connection)
    assert (row.action, row.count) == ("purge", 1)
    assert terminal.here("outbox-purge", "--state", "queued").returncode == 2


def test_send_now_takes_what_is_due_later(terminal: Terminal) -> None:
    """Deferred and scheduled mail, with its attempts; what is due already or in another state is named."""
    deferred = put(
        terminal.engine, "a@slow.example", ago=-500, delivery={"attempts": 3, "lane": 3, "enhanced": "4.7.1"}
    )
    scheduled, due, sent = (
        put(terminal.engine, ago=-9_000),
        put(terminal.engine),
        put(terminal.engine, state=State.SENT),
    )
    done = terminal.here("outbox-send-now", "--error", "4.7.1", "--dry-run")
    assert ("a@slow.example" in done.stdout, done.stdout.splitlines()[-1]) == (True, "Would send now 1 delivery.")
    done = terminal.here("outbox-send-now", *map(str, [*deferred, *scheduled, *due, *sent]), "--yes")
    assert done.returncode == 1
    assert f"Delivery {due[0]} is due already, or excluded by the filter" in done.stdout
    assert f"Delivery {sent[0]} is sent; only queued mail can be made due now" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 deliveries made due now."
    with terminal.engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT attempts, lane, due_at <= updated_at FROM outbox_delivery ORDER BY id")
        )
        assert [tuple(row) for row in rows][:2] == [(3, 3, 1), (0, 2, 1)]
        assert audit.recent(connection)[0].action == "send-now"


def test_send_now_says_what_a_pause_holds(terminal: Terminal) -> None:
    """It is due, and waits all the same."""
    put(terminal.engine, "a@slow.example", ago=-500)
    put(terminal.engine, "b@fast.example", ago=-500)
    with terminal.engine.begin() as connection:
        pauses.pause(connection, What.DOMAIN, "slow.example", by="ann")
        pauses.pause(connection, What.ALL, by="ann", environment="another")
    said = terminal.json("outbox-send-now", "--state", "queued", "--dry-run")[1]
    assert (said["action"], said["matched"], said["held"]) == ("send-now", 2, {"domain slow.example": 1})
    done = terminal.here("outbox-send-now", "--state", "queued", "--yes")
    assert "sent only when the pause ends: domain slow.example (1 delivery)." in done.stdout
    assert done.stdout.splitlines()[-1] == "2 deliveries made due now."


def test_erase(terminal: Terminal) -> None:
    """Counts without --yes; with it the address leaves the list and the audit; a second call finds nothing."""
    put(terminal.engine, "ann@example.org", posting=Posting(key="welcome-ann@example.org"))
    code, said = terminal.json("outbox-erase", "ANN@example.org")
    assert (code, said["dry_run"], said["deliveries"], said["cancelled"]) == (0, True, 1, 1)
    code, said = terminal.json("outbox-erase", "ANN@example.org", "--yes", "--note", "ann@example.org, ticket 4711")
    assert (code, said["complete"], said["deliveries"]) == (0, True, 1)
    assert "ann@" not in terminal.here("outbox-list").stdout
    trail = terminal.here("outbox-audit").stdout
    assert "ticket 4711" in trail
    assert "ann@" not in trail
    done = terminal.here("outbox-erase", "ann@example.org", "--yes")
    assert (done.returncode, done.stdout) == (0, "Nothing is stored of this address. Was it mistyped?\n")
