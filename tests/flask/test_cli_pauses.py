"""`outbox-pause` and `outbox-resume`: what they hold back, what they ask, how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outbox.delivery.rate_limits import parse
from outbox.operations import audit, parse_moment, pauses
from outbox.store.connections import Connections
from outbox.store.enqueue import Posting
from outbox.store.pauses import What, refuse
from outbox.store.rates import DOMAIN, TRANSPORT, Rates
from tests.db.mails import put
from tests.flask.terminal import Terminal


def paused(terminal: Terminal) -> list[str]:
    """What is, in few words."""
    with terminal.engine.connect() as connection:
        return [str(one) for one in pauses.active(connection)]


def test_pause_and_resume(terminal: Terminal) -> None:
    """By kind, domain and transport; the status names them with who and why; the audit knows both."""
    put(terminal.engine, "a@example.org", "b@example.com", posting=Posting(kind="newsletter"))
    done = terminal.here("outbox-pause", "--kind", "newsletter", "--for", "2h", "--reason", "wrong link", "--yes")
    assert done.returncode == 0
    assert done.stdout.startswith("Paused kind newsletter until ")
    assert done.stdout.endswith(" UTC (2h): 2 deliveries queued now.\n")
    terminal.here("outbox-pause", "--domain", "Example.com", "--transport", "127.0.0.1:1", "--yes")
    assert paused(terminal) == ["transport 127.0.0.1:1", "kind newsletter", "domain example.com"]
    status = terminal.here("outbox-status").stdout
    assert "paused: kind newsletter" in status
    assert "wrong link" in status
    assert len(terminal.json("outbox-status")[1]["pauses"]) == 3
    assert terminal.here("outbox-resume").stdout.splitlines()[-1] == "3 are paused."
    done = terminal.here("outbox-resume", "--kind", "newsletter", "--yes")
    assert (done.returncode, done.stdout) == (0, "Resumed kind newsletter.\n")
    code, said = terminal.json("outbox-resume", "--all", "--yes")
    assert (code, [one["value"] for one in said["pauses"]]) == (0, ["127.0.0.1:1", "example.com"])
    assert paused(terminal) == []
    with terminal.engine.connect() as connection:
        rows = audit.recent(connection)
    assert [row.action for row in rows] == ["resume"] * 3 + ["pause"] * 3
    assert all("@" in row.by for row in rows)


def test_one_mail_tells_that_it_is_paused(terminal: Terminal) -> None:
    """Who looks for a mail that does not come is told why it waits; mail that is not held says nothing of it."""
    (held,) = put(terminal.engine, "a@example.org", posting=Posting(kind="newsletter"))
    (free,) = put(terminal.engine, "b@example.org")
    terminal.here("outbox-pause", "--kind", "newsletter", "--reason", "wrong link")
    assert "paused            kind newsletter, by " in terminal.here("outbox-show", str(held)).stdout
    assert [one["reason"] for one in terminal.json("outbox-show", str(held))[1]["paused"]] == ["wrong link"]
    assert "paused" not in terminal.here("outbox-show", str(free)).stdout


def test_one_mail_tells_that_a_rate_holds_it(terminal: Terminal) -> None:
    """That of its recipient's domain, or that of the only transport."""
    held, free = put(terminal.engine, "a@example.com", "b@example.org")
    rates = Rates(terminal.engine, Connections(terminal.engine), "")
    rates.reserve(DOMAIN, "example.com", parse("2/day"), 2)
    assert "waits             mail to example.com is held by rate (2/day) until " in (
        terminal.here("outbox-show", str(held)).stdout
    )
    assert [one["limits"] for one in terminal.json("outbox-show", str(held))[1]["rates"]] == ["2/day"]
    assert terminal.json("outbox-show", str(free))[1]["rates"] == []
    rates.reserve(TRANSPORT, "127.0.0.1:1", parse("3/day"), 3)
    assert [one["name"] for one in terminal.json("outbox-show", str(free))[1]["rates"]] == ["127.0.0.1:1"]


def test_a_dry_run_pauses_nothing(terminal: Terminal) -> None:
    """It says what it would."""
    done = terminal.here("outbox-pause", "--all", "--dry-run", "--until", "2999-01-01")
    assert done.stdout.startswith("Would pause all mail until 2999-01-01 00:00:00 UTC (")
    assert paused(terminal) == []
    terminal.here("outbox-pause", "--all")
    assert terminal.here("outbox-resume", "--all", "--dry-run").stdout == "Would resume all mail.\n"
    assert paused(terminal) == ["all"]


@pytest.mark.parametrize(
    "words",
    [
        ["--transport", "sess"],  # by which no mail goes: it would pause nothing
        [],
        ["--all", "--kind", "x"],
        ["--kind", " "],
        ["--sender", "nobody"],
        ["--all", "--until", "2020-01-01"],
        ["--all", "--until", "soon"],
        ["--all", "--until", "18:30", "--for", "2h"],
    ],
    ids=str,
)
def test_wrong_use_ends_in_2(terminal: Terminal, words: list[str]) -> None:
    """Nothing named, nothing that fits, an end that is past: no pause."""
    done = terminal.here("outbox-pause", *words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert paused(terminal) == []


def test_to_resume_what_is_not_paused_ends_in_1(terminal: Terminal) -> None:
    """And says how to find what is."""
    done = terminal.here("outbox-resume", "--kind", "newsletter")
    assert (done.returncode, "not paused" in done.stdout) == (1, True)
    assert terminal.here("outbox-resume").stdout == "Nothing is paused.\n"


def test_on_a_terminal_it_asks_before_it_holds_more_than_one(terminal: Terminal) -> None:
    """Both ways; --yes has decided."""
    put(terminal.engine, "a@example.org", "b@example.org")
    with terminal.screen("outbox-pause", "--all") as screen:
        screen.until("Pause all mail (2 deliveries queued now)? [y/N]")
        screen.type("n\n")
        screen.to_end()
    assert (screen.process.returncode, paused(terminal)) == (1, [])
    with terminal.screen("outbox-pause", "--all", "--yes") as screen:
        assert "Paused all mail" in screen.to_end()
    with terminal.screen("outbox-resume", "--all") as screen:
        screen.until("Resume all mail (2 deliveries queued now)? [y/N]")
        screen.type("y\n")
        screen.to_end()
    assert (screen.process.returncode, paused(terminal)) == (0, [])


def test_an_end_may_be_written_as_a_time_of_day() -> None:
    """The next such time, in UTC; or a date; or with a zone."""
    now = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
    assert parse_moment("18:30", now) == datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    assert parse_moment("06:00", now) == datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    assert parse_moment("2026-11-24", now) == datetime(2026, 11, 24, tzinfo=UTC)
    assert parse_moment("2026-11-24T10:00+02:00", now) == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert parse_moment("2026-11-24 10:00", now) - now == timedelta(days=1, hours=21)
    with pytest.raises(ValueError, match="is not a time"):
        parse_moment("25:00", now)


def test_a_sender_that_workers_stopped_is_listed_and_resumed(terminal: Terminal) -> None:
    """With the relay's words, in the list and in the status; `--sender` lifts it."""
    (id,) = put(terminal.engine, "a@example.org")
    with terminal.engine.begin() as connection:
        refused = {"environment": "", "transport": "mail:25", "reason": "refused by mail:25"}
        reply = "554 Email address is not verified"
        assert refuse(connection, What.SENDER, "from@example.org", **refused, reply=reply)
    terminal.here("outbox-pause", "--kind", "newsletter")
    listed = terminal.here("outbox-resume").stdout
    assert "By the workers:\n  !  sender from@example.org, for " in listed
    assert f"mail:25 refuses this sender while it takes other mail: {reply}. Verify the sender's" in listed
    assert "`outbox-resume --sender from@example.org` resumes its mail; one message is tried again in " in listed
    assert listed.endswith("2 are paused.\n")
    said = next(one for one in terminal.json("outbox-resume")[1]["pauses"] if one["automatic"])
    assert (said["what"], said["reply"], said["transport"], said["by"]) == ("sender", reply, "mail:25", "automatic")
    assert said["probe_at"] > said["since"]
    code, said = terminal.json("outbox-status")
    stopped = dict(zip(said["problem_kinds"], said["problems"], strict=True))["scope-stopped"]
    assert (code, "`outbox-resume --sender from@example.org`" in stopped, reply in stopped) == (1, True, True)
    shown = terminal.here("outbox-show", str(id)).stdout
    assert "sender from@example.org, by the outbox itself since " in shown
    assert f"refuses this sender while it takes other mail: {reply}. It is sent when the relay accepts one" in shown
    done = terminal.here("outbox-resume", "--sender", "from@example.org", "--dry-run")
    assert done.returncode == 0
    assert terminal.here("outbox-resume", "--sender", "From <from@EXAMPLE.org>").returncode == 0
    assert paused(terminal) == ["kind newsletter"]


def test_all_and_domain_lift_what_workers_paused(terminal: Terminal) -> None:
    """As they lift what people paused; what both paused is named once."""
    with terminal.engine.begin() as connection:
        for transport in ("mail:25", "other:25"):
            refused = {"environment": "", "transport": transport, "reason": "refused", "reply": "450 later"}
            assert refuse(connection, What.DOMAIN, "far.example", **refused)
            assert refuse(connection, What.SENDER, "from@example.org", **refused)
    done = terminal.here("outbox-resume", "--domain", "FAR.example")
    assert (done.returncode, done.stdout) == (0, "Resumed domain far.example.\n")
    done = terminal.here("outbox-resume", "--all")
    assert (done.returncode, done.stdout) == (0, "Resumed sender from@example.org.\n")
    assert paused(terminal) == []


def test_a_sender_can_be_paused(terminal: Terminal) -> None:
    """As a kind or a domain can: by the envelope's sender."""
    put(terminal.engine, "a@example.org")
    code, said = terminal.json("outbox-pause", "--sender", "from@example.org", "--for", "1h")
    assert (code, said["queued"]) == (0, 1)
    assert terminal.json("outbox-status")[1]["held"] == 1
