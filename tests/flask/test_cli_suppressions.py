"""`outbox-suppress`, `outbox-unsuppress`, `outbox-suppressions`: the list, why an address gets nothing, the files."""

from __future__ import annotations

import csv

import pytest
import sqlalchemy as sa

from outbox import Settings
from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.states import State
from outbox.delivery.suppression import Why
from outbox.models import OutboxEvent, OutboxSuppression, table_of
from outbox.operations import audit, events, suppressions
from outbox.operations.suppressions import Wanted
from outbox.store.posting import Posting
from outbox.store.types import DbNow
from tests.db.mails import put, states
from tests.flask.terminal import COLUMNS, SGR, Terminal


def listed(terminal: Terminal) -> list[tuple[str | None, str, str]]:
    """The list, the newest first."""
    with terminal.engine.connect() as connection:
        found = suppressions.entries(connection, Wanted(), address_key=b"")
    return [(one.address, one.scope, one.reason.value) for one in found]


def key(terminal: Terminal) -> bytes:
    return Settings.from_config(Settings.from_env(terminal.env)).address_digest_key


def bounced(terminal: Terminal, address: str = "ann@example.org", *, proven: bool = True) -> int:
    """A message was sent and came back; its delivery."""
    [id] = put(terminal.engine, address, state=State.SENT, posting=Posting(address_key=key(terminal)))
    reply = Reply(550, "5.1.1", "no such user")
    event = ReportedEvent(EventType.BOUNCED, "report", f"r{id}", delivery_id=id, reply=reply, proven=proven)
    events.record(terminal.engine, Settings.from_config(Settings.from_env(terminal.env)), [event])
    return id


def test_suppress_and_lift(terminal: Terminal) -> None:
    """In a scope, for a time; both are in the audit with who and why."""
    done = terminal.here(
        "outbox-suppress", "Ann@Example.org", "--scope", "kind:news", "--for", "30d", "--note", "phone"
    )
    assert (done.returncode, done.stdout) == (
        0,
        "Suppressed Ann@example.org for mail of the kind news, for 30d.\n",
    )
    assert "was suppressed before" in terminal.here("outbox-suppress", "ann@example.org", "--scope", "kind:news").stdout
    terminal.here("outbox-suppress", "ann@example.org")
    assert [one[1:] for one in listed(terminal)] == [("all", "manual"), ("kind:news", "manual")]
    code, said = terminal.json("outbox-unsuppress", "ANN@example.org", "--scope", "kind:news", "--note", "again")
    assert (code, [one["scope"] for one in said["suppressions"]]) == (0, ["kind:news"])
    assert terminal.here("outbox-unsuppress", "ann@example.org").stdout == "Lifted 1 of ann@example.org: all mail.\n"
    assert listed(terminal) == []
    done = terminal.here("outbox-unsuppress", "ann@example.org", "--scope", "all")
    assert (done.returncode, done.stdout) == (1, "ann@example.org is not suppressed for all mail.\n")
    with terminal.engine.connect() as connection:
        rows = audit.recent(connection)
    assert [(row.action, row.note) for row in rows] == [
        ("unsuppress", None),
        ("unsuppress", "again"),
        ("suppress", None),
        ("suppress", None),
        ("suppress", "phone"),
    ]


def test_a_dry_run_changes_nothing(terminal: Terminal) -> None:
    """Of both."""
    assert terminal.json("outbox-suppress", "ann@example.org", "--dry-run")[1]["new"] is True
    assert listed(terminal) == []
    terminal.here("outbox-suppress", "ann@example.org")
    assert terminal.here("outbox-unsuppress", "ann@example.org", "--dry-run").stdout.startswith("Would lift 1 of ann@")
    assert len(listed(terminal)) == 1


def test_a_persons_wish_is_asked_about(terminal: Terminal) -> None:
    """Who complained or unsubscribed is not written to again by mistake."""
    with terminal.engine.begin() as connection:
        suppressions.suppress(connection, "ann@example.org", by="x", address_key=key(terminal), reason=Why.COMPLAINED)
    done = terminal.here("outbox-unsuppress", "ann@example.org")
    assert done.returncode == 2
    assert "ann@example.org complained on 20" in done.stderr
    assert len(listed(terminal)) == 1
    assert terminal.here("outbox-unsuppress", "ann@example.org", "--yes").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("outbox-suppress", "nobody"),
        ("outbox-suppress", "a@example.org", "--scope", "news"),
        ("outbox-suppress", "a@example.org", "--for", "soon"),
        ("outbox-unsuppress", "a@example.org", "--reason", "why"),
        ("outbox-suppressions", "ann"),
        ("outbox-suppressions", "a@example.org", "--export", "x"),
        ("outbox-suppressions", "--dry-run"),
    ],
    ids=str,
)
def test_wrong_use(terminal: Terminal, words: tuple[str, ...]) -> None:
    """Ends in 2 and changes nothing."""
    done = terminal.here(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert listed(terminal) == []


def test_why_do_i_get_nothing(terminal: Terminal) -> None:
    """One look: what is suppressed and why, the last deliveries, what was reported, and whether it is proven."""
    id = bounced(terminal)
    bounced(terminal, "ben@example.org", proven=False)
    lines = terminal.here("outbox-suppressions", "ANN@example.org").stdout.splitlines()
    assert lines[0] == "ANN@example.org is suppressed for all mail."
    assert any(
        line.startswith("  all  bounced ") and line.endswith("by report: 550 5.1.1 no such user") for line in lines
    )
    assert any(line.endswith(f"bounced: 5.1.1 no such user, by report  (delivery {id})") for line in lines)
    code, said = terminal.json("outbox-suppressions", "ann@example.org")
    assert code == 0
    assert ([one["reason"] for one in said["suppressions"]], said["deliveries"][0]["id"]) == (["bounced"], id)
    assert (said["events"][0]["type"], said["events"][0]["suppressed"]) == ("bounced", "all mail")
    other = terminal.here("outbox-suppressions", "ben@example.org").stdout
    assert other.startswith("ben@example.org is not suppressed. The last delivery to it is sent.\n")
    assert "bounced: 5.1.1 no such user (reported, not proven)" in other
    nobody = terminal.here("outbox-suppressions", "nobody@example.org").stdout
    assert nobody == "nobody@example.org is not suppressed, and no mail to it is kept here.\n"


def test_the_list(terminal: Terminal) -> None:
    """By a part of the address, scope and reason; page by page; within 80 columns."""
    assert terminal.here("outbox-suppressions").stdout == "No address is suppressed.\n"
    for number in range(3):
        terminal.here("outbox-suppress", f"ann{number}@example.org", "--note", "a long note that says why " * 3)
    bounced(terminal, "ben@example.com")
    assert [one["address"] for one in terminal.json("outbox-suppressions", "--search", "EXAMPLE.org")[1]] == [
        "ann2@example.org",
        "ann1@example.org",
        "ann0@example.org",
    ]
    assert [one["scope"] for one in terminal.json("outbox-suppressions", "--reason", "bounced")[1]] == ["all"]
    assert terminal.json("outbox-suppressions", "--scope", "kind:x") == (0, [])
    first = terminal.here("outbox-suppressions", "--limit", "3")
    last = terminal.json("outbox-suppressions", "--before", first.stderr.split("--before ")[1].split()[0])[1]
    assert [one["address"] for one in last] == ["ann0@example.org"]
    with terminal.screen("outbox-suppressions") as screen:
        lines = SGR.sub("", screen.to_end()).splitlines()
    assert max(map(len, lines)) <= COLUMNS, lines
    assert lines[0].split()[:3] == ["ADDRESS", "SCOPE", "REASON"]


def test_out_and_in_again(terminal: Terminal) -> None:
    """An export is an import: the same list, also twice; no cell is a formula."""
    terminal.here("outbox-suppress", "=cmd@example.org", "--note", "=HYPERLINK(1)")
    terminal.here("outbox-suppress", "ann@example.org", "--for", "30d")
    bounced(terminal, "ben@example.com")
    file = terminal.folder / "list.csv"
    assert terminal.here("outbox-suppressions", "--export", str(file)).stdout == f"3 suppressions in {file}.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["address"], row["note"]) for row in rows][2] == ("'=cmd@example.org", "'=HYPERLINK(1)")
    before = listed(terminal)
    words = ("outbox-suppressions", "--import", str(file), "--yes")
    assert terminal.here(*words).stdout == "Imported 0 new and 0 changed; 3 were there already.\n"
    with terminal.engine.begin() as connection:
        connection.execute(table_of(OutboxSuppression).delete())
    assert terminal.json(*words[:-1], "--dry-run")[1]["new"] == 3
    assert listed(terminal) == []
    assert terminal.here(*words).stdout == "Imported 3 new and 0 changed; 0 were there already.\n"
    assert sorted(listed(terminal)) == sorted(before)  # type: ignore[type-var]
    with terminal.engine.connect() as connection:
        [entry, *_] = audit.recent(connection)
        [long] = suppressions.entries(connection, Wanted(address="ann@example.org"), address_key=key(terminal))
    assert (entry.action, entry.count, entry.filters) == ("suppress", 3, "import list.csv")
    assert long.until is not None


def test_faults_are_named_by_line_and_nothing_is_imported(terminal: Terminal) -> None:
    """Half a file would leave nobody knowing which half."""
    file = terminal.folder / "list.csv"
    file.write_text(
        "Email,reason,until\nann@example.org,,\nnobody,,\nben@example.org,whim,\ncy@example.org,bounced,tomorrow\n"
    )
    done = terminal.here("outbox-suppressions", "--import", str(file), "--yes")
    assert done.returncode == 1
    assert [line.split(", line ")[1][:2] for line in done.stdout.splitlines()[:3]] == ["3:", "4:", "5:"]
    assert done.stdout.endswith("Nothing was imported: 3 lines are at fault.\n")
    assert listed(terminal) == []
    code, said = terminal.json("outbox-suppressions", "--import", str(file))
    assert (code, [one["line"] for one in said["faults"]], said["new"]) == (1, [3, 4, 5], 0)
    file.write_text("name\nann\n")
    assert "no column is named address" in terminal.here("outbox-suppressions", "--import", str(file)).stdout
    file.write_bytes(b"address\nann@example.org\n\xff\n")
    assert "can't be read as CSV in UTF-8" in terminal.here("outbox-suppressions", "--import", str(file)).stdout


def test_a_large_file_in_batches(terminal: Terminal) -> None:
    """Several transactions; asked about once; an address that is there twice counts once."""
    file = terminal.folder / "list.csv"
    file.write_text("address\n" + "".join(f"a{number % 2500}@example.org\n" for number in range(2600)))
    assert terminal.here("outbox-suppressions", "--import", str(file)).returncode == 2  # nobody was asked
    assert terminal.here("outbox-suppressions", "--import", str(file), "--yes").returncode == 0
    with terminal.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table_of(OutboxSuppression))).scalar() == 2500
        [entry] = audit.recent(connection)
    assert entry.count == 2500


def test_events_in_show_list_and_status(terminal: Terminal) -> None:
    """With the words of the server, whether it is proven, and what follows."""
    id, other = bounced(terminal), bounced(terminal, "ben@example.org", proven=False)
    put(terminal.engine, "cy@example.org", state=State.SENT)
    shown = terminal.here("outbox-show", str(id)).stdout
    assert "bounced: 5.1.1 no such user, by report; all mail to the address is suppressed because of it" in shown
    assert [one["type"] for one in terminal.json("outbox-show", str(id))[1]["events"]] == ["bounced"]
    assert "(reported, not proven)" in terminal.here("outbox-show", str(other)).stdout
    assert [one["id"] for one in terminal.json("outbox-list", "--event", "bounced")[1]] == [other, id]
    seen = terminal.json("outbox-status")[1]
    assert (seen["events_last_hour"], seen["suppressions"]) == ({"bounced": 2}, 1)


def test_a_requeue_leaves_out_what_is_suppressed(terminal: Terminal) -> None:
    """--yes alone does not include it; one ID has a question of its own; a dry run says both figures."""
    stopped = {"reason": "suppression", "reply": "the address is suppressed for all mail: bounced, since 2026-11-20"}
    [id] = put(terminal.engine, "ann@example.org", state=State.FAILED, delivery=stopped)
    [other] = put(terminal.engine, "ben@example.org", state=State.FAILED)
    words = ("outbox-requeue", "--state", "failed", "--yes")
    dry = terminal.here(*words[:-1], "--dry-run").stdout
    assert ("1 delivery is left out, because the address is suppressed" in dry, "Would requeue 1 delivery." in dry) == (
        True,
        True,
    )
    said = terminal.json(*words)[1]
    assert (said["changed"], said["suppressed"]) == (1, 1)
    assert [states(terminal.engine)[one] for one in (id, other)] == ["failed", "queued"]
    done = terminal.here("outbox-requeue", str(id))
    assert done.returncode == 2
    assert "The address is suppressed for all mail: bounced, since 2026-11-20. Send it all the same?" in done.stderr
    assert terminal.here("outbox-requeue", str(id), str(other), "--yes").returncode == 1
    assert terminal.here(*words, "--suppressed").returncode == 0
    assert states(terminal.engine)[id] == "queued"


def test_old_events_and_ended_suppressions_are_purged(terminal: Terminal) -> None:
    """What is in force stays."""
    bounced(terminal)
    terminal.here("outbox-suppress", "ben@example.org", "--for", "1s")
    with terminal.engine.begin() as connection:
        connection.execute(table_of(OutboxEvent).update().values(recorded_at=DbNow(-40 * 86_400.0)))
        ended = table_of(OutboxSuppression).c.address == "ben@example.org"
        connection.execute(table_of(OutboxSuppression).update().where(ended).values(until=DbNow(-40 * 86_400.0)))
    terminal.here("outbox-purge", "--yes")
    with terminal.engine.connect() as connection:
        assert connection.execute(sa.select(OutboxEvent.id)).all() == []
        assert connection.execute(sa.select(OutboxSuppression.address)).scalars().all() == ["ann@example.org"]
