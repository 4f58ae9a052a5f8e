"""The commands that talk to a relay, as processes: outbox-sender, outbox-check, outbox-test-mail."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import flask_mail
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.delivery.states import State
from outbox.extension.draft import draft_of
from outbox.message.compose import compose, new_unique
from outbox.models import OutboxAudit, OutboxDelivery, OutboxPause, table_of
from outbox.operations import audit, pauses
from outbox.store.enqueue import Posting, enqueue
from outbox.store.enqueue_many import enqueue_many
from outbox.store.pauses import What
from outbox.store.types import DbNow
from tests.db.mails import composed, put, states
from tests.flask.terminal import SECONDS, SGR, Terminal
from tests.story.stage import until
from tests.wire.actions import CLOSE, SILENCE, turns
from tests.wire.server import SmtpServer


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    """A relay with STARTTLS and a log-in."""
    with SmtpServer(tls="starttls", auth={"shop": "hunter2"}) as server:
        yield server


@pytest.fixture
def bare(tmp_path: Path, server: SmtpServer) -> Iterator[Terminal]:
    """A terminal whose application is configured for the relay, and whose database is not migrated."""
    made = Terminal(tmp_path)
    made.env |= {
        "MAIL_SERVER": "localhost",
        "MAIL_PORT": str(server.port),
        "MAIL_USE_TLS": "true",
        "MAIL_USERNAME": "shop",
        "MAIL_PASSWORD": "hunter2",
        "OUTBOX_TLS_CA_FILE": str(server.ca_file),
    }
    yield made
    made.engine.dispose()


def old_mail(engine: sa.Engine, count: int) -> None:
    """So many messages that were sent 90 seconds ago."""
    with Session(engine) as session:
        enqueue_many(session, [(composed(), Posting())] * count)
        sent = {"state": State.SENT.value, "due_at": None, "finished_at": DbNow(-90.0)}
        session.execute(sa.update(table_of(OutboxDelivery)).values(**sent))
        session.commit()


class TestSender:
    """`outbox-sender`."""

    @pytest.mark.parametrize("offered", [False, True])
    def test_one_address_beyond_ascii_stops_only_itself(
        self, terminal: Terminal, server: SmtpServer, offered: bool
    ) -> None:
        """Without SMTPUTF8 it fails alone, with it it gets a form of its own; the others get theirs in either case."""
        if not offered:
            server.extensions = tuple(name for name in server.extensions if name != "SMTPUTF8")
        message = flask_mail.Message("s", ["ann@example.org", "jörg@example.net"], "b", sender="shop@example.org")
        message.cc = ["bob@example.org"]
        made = compose(
            draft_of(message), default_sender=None, now=datetime.now(UTC), max_bytes=10**6, unique=new_unique()
        )
        with Session(terminal.engine) as session, session.begin():
            enqueue(session, made, Posting())
        terminal.run("outbox-sender", "--drain")
        sent = {mail.rcpt: mail.content for mail in server.messages}
        plain = b"To: ann@example.org, =?utf-8?b?asO2cmdAZXhhbXBsZS5uZXQ=?= :;\r\n"
        assert plain in sent["ann@example.org"]
        assert plain in sent["bob@example.org"]
        found = sorted(states(terminal.engine).items())
        assert [state for _, state in found] == ["sent", "sent" if offered else "failed", "sent"]
        shown = terminal.run("outbox-show", str(found[1][0])).stdout
        assert "SMTPUTF8" in shown
        assert "RFC 6857" in terminal.run("outbox-show", str(found[0][0])).stdout
        if offered:
            assert "To: ann@example.org, jörg@example.net\r\n".encode() in sent["jörg@example.net"]
        else:
            assert len(sent) == 2

    def test_once_sends_what_is_due_and_ends_in_0(self, terminal: Terminal, server: SmtpServer) -> None:
        """What is dated into the future stays; each event is a line on stderr, nothing of the body among them."""
        due, later = put(terminal.engine)[0], put(terminal.engine, ago=-600)[0]
        done = terminal.run("outbox-sender", "--once")
        assert (done.returncode, done.stdout) == (0, "")
        assert states(terminal.engine) == {due: "sent", later: "queued"}
        assert len(server.messages) == 1
        assert "<1@example.org> status=sent" in done.stderr
        assert "hunter2" not in done.stderr
        assert "body" not in done.stderr

    @pytest.mark.parametrize("mode", ["--once", "--drain"])
    def test_one_pass_purges_as_well(self, terminal: Terminal, mode: str) -> None:
        """All that is older than the retention, batch after batch, though nothing else is left to do."""
        terminal.env["OUTBOX_RETENTION_SECONDS"] = "60"
        old_mail(terminal.engine, 1_000)
        young = put(terminal.engine, state=State.SENT)[0]
        assert terminal.run("outbox-sender", mode).returncode == 0
        assert states(terminal.engine) == {young: "sent"}

    def test_a_worker_purges_soon_after_its_start(self, terminal: Terminal) -> None:
        """Not ten minutes later: many a worker does not live for so long."""
        terminal.env |= {"OUTBOX_RETENTION_SECONDS": "60", "OUTBOX_AUDIT_RETENTION_SECONDS": "60"}
        with terminal.engine.begin() as connection:
            audit.write(connection, "cancel", by="ann", count=1)
            connection.execute(sa.update(table_of(OutboxAudit)).values(at=DbNow(-90.0)))
        old_mail(terminal.engine, 1)
        with terminal.started("outbox-sender") as sender:
            until(lambda: states(terminal.engine) == {}, "it is gone")
            until(lambda: terminal.json("outbox-audit")[1] == [], "its audit, too")
        assert sender.returncode == 0

    def test_drain_goes_on_until_nothing_is_due(self, terminal: Terminal, server: SmtpServer) -> None:
        """With a progress bar on a terminal."""
        put(terminal.engine, *(f"r{number}@example.org" for number in range(30)))
        with terminal.screen("outbox-sender", "--drain", "--connections", "2") as screen:
            shown = screen.to_end()
        assert screen.process.returncode == 0
        *_, bar, last = SGR.sub("", shown).splitlines()
        assert re.search(r"draining #{20,} 30/30 0:00:00$", bar), bar
        assert last == "30 sent, 0 deferred, 0 failed."
        assert set(states(terminal.engine).values()) == {"sent"}
        assert len(server.messages) == 30

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ({"greeting": "421 4.3.2 down for maintenance"}, "down for maintenance"),
            ({"auth": "535 5.7.8 who are you"}, "who are you"),
            ({"mail": "550 5.4.5 Daily user sending limit exceeded"}, "limit exceeded"),
        ],
        ids=["relay", "log-in", "quota"],
    )
    @pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one", "supervised"])
    def test_once_ends_in_1_where_due_mail_could_not_go(
        self,
        script: dict[str, str],
        words: str,
        processes: tuple[str, ...],
        terminal: Terminal,
        server: SmtpServer,
    ) -> None:
        """With how many are left and why; nothing has cost them an attempt. Cron tells its owner."""
        server.script.update(script)
        ids = put(terminal.engine, *(f"r{number}@example.org" for number in range(40)))
        done = terminal.run("outbox-sender", "--once", *processes)
        assert done.returncode == 1, done.stderr
        assert states(terminal.engine) == dict.fromkeys(ids, "queued")
        said = [line for line in done.stderr.splitlines() if "could not be sent" in line]
        assert said, done.stderr
        assert words in said[0]
        assert "40 due deliveries" in said[0] or processes

    def test_one_message_on_which_the_relay_hangs_up_ends_in_0(self, terminal: Terminal, server: SmtpServer) -> None:
        """It waits for its next attempt; the relay takes the others, so nothing is wrong with it."""
        server.script["data"] = turns(None, CLOSE)
        put(terminal.engine, *(f"r{number}@example.org" for number in range(5)))
        done = terminal.run("outbox-sender", "--once", env={"OUTBOX_CONNECTIONS": "1"})
        assert (done.returncode, "could not be sent" in done.stderr) == (0, False), done.stderr
        assert list(states(terminal.engine).values()).count("sent") >= 4

    @pytest.mark.parametrize("option", ["--once", "--drain"])
    def test_recipients_own_faults_and_pauses_of_operators_end_in_0(
        self, option: str, terminal: Terminal, server: SmtpServer
    ) -> None:
        """Nothing is wrong with relay or account."""
        server.script["rcpt"] = turns("450 4.2.1 mailbox busy", "550 5.1.1 no such user")
        put(terminal.engine, "a@example.org", "b@example.org", "c@example.org")
        put(terminal.engine, "d@example.net")
        with terminal.engine.begin() as connection:
            pauses.pause(connection, What.DOMAIN, "example.net", by="ann")
        done = terminal.run("outbox-sender", option)
        assert (done.returncode, "could not be sent" in done.stderr) == (0, False), done.stderr
        assert sorted(states(terminal.engine).values()) == ["failed", "queued", "queued", "sent"]

    @pytest.mark.parametrize("option", ["--once", "--drain"])
    def test_an_automatic_pause_ends_in_1(self, option: str, terminal: Terminal) -> None:
        """What the relay refuses an account waits for a person; the rest goes."""
        put(terminal.engine, "a@example.org", "b@example.net", "c@example.net")
        with terminal.engine.begin() as connection:
            pauses.pause(connection, What.DOMAIN, "example.net", by="automatic", reason="not verified")
            connection.execute(
                sa.update(table_of(OutboxPause)).values(
                    automatic=True,
                    transport=f"localhost:{terminal.env['MAIL_PORT']}",
                    reply="554 Address is not verified",
                    probe_at=DbNow(3600),
                    probe_seconds=3600.0,
                )
            )
        done = terminal.run("outbox-sender", option)
        assert done.returncode == 1, done.stderr
        assert "2 due deliveries could not be sent" in done.stderr
        assert sorted(states(terminal.engine).values()) == ["queued", "queued", "sent"]

    def test_the_log_can_be_json(self, terminal: Terminal) -> None:
        """One object a line."""
        put(terminal.engine)
        done = terminal.run("outbox-sender", "--once", env={"OUTBOX_LOG_JSON": "true"})
        assert all(line.startswith("{") for line in done.stderr.splitlines())

    def test_tables_of_a_newer_release_are_refused(self, terminal: Terminal, server: SmtpServer) -> None:
        """The worker says what to do, and ends before it registers; the check says the same."""
        with terminal.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO outbox_schema (version) VALUES (2)")
        for command in ("outbox-sender", "outbox-check"):
            done = terminal.run(command)
            assert "Upgrade the package" in done.stdout + done.stderr
            assert done.returncode != 0
        with terminal.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM outbox_worker").scalar() == 0

    @pytest.mark.parametrize("words", [["--once", "--drain"], ["--connections", "0"]])
    def test_wrong_use_ends_in_2(self, terminal: Terminal, words: list[str]) -> None:
        """Before anything is sent."""
        assert terminal.run("outbox-sender", *words).returncode == 2


class TestCheck:
    """`outbox-check`."""

    def test_all_is_well(self, terminal: Terminal, server: SmtpServer) -> None:
        """Configuration, database, migrations, log-in over verified TLS; nothing was sent."""
        done = terminal.run("outbox-check")
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line.split()[:2] for line in done.stdout.splitlines()] == [
            ["configuration", "ok"],
            ["database", "ok"],
            ["migrations", "ok"],
            ["smtp", "ok"],
            ["sender", "ok"],
            ["recipient", "note"],
            ["No", "fault"],
        ]
        assert "logged in as shop" in done.stdout
        assert "ready for mail from shop@example.org" in done.stdout
        assert "hunter2" not in done.stdout + done.stderr
        assert not any(command.startswith(("RCPT", "DATA")) for command in server.commands)
        assert server.messages == []

    def test_every_fault_is_told_at_once(self, bare: Terminal) -> None:
        """Not migrated and a wrong password: both, in one go."""
        (bare.folder / "outbox.sqlite").touch()
        code, said = bare.json("outbox-check", env={"MAIL_PASSWORD": "wrong"})
        assert (code, said["ok"]) == (1, False)
        faults = {one["check"]: one["words"] for one in said["checks"] if one["ok"] is False}
        assert faults.keys() == {"migrations", "smtp"}
        assert "alembic upgrade head" in faults["migrations"]
        assert "configuration fault at auth: 535" in faults["smtp"]

    def test_faults_of_the_configuration_end_in_1(self, bare: Terminal) -> None:
        """All of them, without a traceback."""
        done = bare.run("outbox-check", env={"OUTBOX_TYPO": "1", "OUTBOX_POLL_SECONDS": "never"})
        assert done.returncode == 1
        assert "OUTBOX_TYPO" in done.stderr
        assert "OUTBOX_POLL_SECONDS" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_database_that_is_down_does_not_hide_the_rest(self, bare: Terminal) -> None:
        """The log-in is looked at all the same."""
        url = "postgresql+psycopg://me:secret@127.0.0.1:1/x"
        code, said = bare.json("outbox-check", env={"OUTBOX_DATABASE_URL": url})
        assert code == 1
        assert {one["check"]: one["ok"] for one in said["checks"]} == {
            "configuration": True,
            "database": False,
            "smtp": True,
            "sender": True,
            "recipient": None,
        }


class TestTestMail:
    """`outbox-test-mail`."""

    @pytest.mark.parametrize("phase", ["greeting", "auth", "rcpt", "dot"])
    def test_a_relay_that_hangs_does_not_lengthen_it(self, phase: str, terminal: Terminal, server: SmtpServer) -> None:
        """Whatever the relay is silent at, the command ends in time, and says what becomes of the message."""
        server.script[phase] = SILENCE
        began = time.monotonic()
        done = terminal.here("outbox-test-mail", "ann@example.org", "--timeout", "1")
        assert time.monotonic() - began < 20
        assert done.returncode == 1
        assert "it stays in the outbox and will be retried" in done.stderr
        assert "time is up; outbox-check looks for the cause" in done.stdout
        assert list(states(terminal.engine).values()) == ["queued"]

    def test_json(self, terminal: Terminal, server: SmtpServer) -> None:
        """One object, whether it was sent or not; the steps are on stderr."""
        code, said = terminal.json("outbox-test-mail", "ann@example.org")
        assert (code, said["sent"], said["state"], said["checks"]) == (0, True, "sent", [])
        server.script["rcpt"] = "550 5.1.1 no such user"
        code, said = terminal.json("outbox-test-mail", "bob@example.org")
        assert (code, said["sent"], said["attempts"][0]["enhanced"]) == (1, False, "5.1.1")
        assert [one["ok"] for one in said["checks"] if one["check"] == "recipient"] == [False]
        assert "is failed (refused)" in said["error"]

    def test_without_worker_it_is_sent_from_here(self, terminal: Terminal, server: SmtpServer) -> None:
        """Every step is told, the server's reply among them."""
        done = terminal.run("outbox-test-mail", "ann@example.org")
        assert done.returncode == 0, done.stdout + done.stderr
        said = [line.split(":")[0].split(" in ")[0] for line in done.stdout.splitlines()]
        assert said[0] == "enqueued and committed"
        assert "no worker is running" in said[1]
        assert "accepted at dot: 250" in done.stdout
        assert said[-1] == "sent to ann@example.org"
        assert [mail.rcpt for mail in server.messages] == ["ann@example.org"]

    def test_a_living_worker_sends_it(self, terminal: Terminal, server: SmtpServer) -> None:
        """It is waited for; a worker that is told to stop afterwards ends in 0."""
        with terminal.started("outbox-sender") as sender:
            deadline = time.monotonic() + SECONDS
            while not terminal.json("outbox-status")[1]["workers"]:
                assert time.monotonic() < deadline
            done = terminal.run("outbox-test-mail", "ann@example.org")
        assert sender.returncode == 0
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"pid {sender.pid}" in done.stdout
        assert len(server.messages) == 1

    def test_a_refused_one_ends_in_1(self, terminal: Terminal, server: SmtpServer) -> None:
        """With the server's words."""
        server.script["rcpt"] = "550 5.1.1 no such user"
        done = terminal.here("outbox-test-mail", "ann@example.org")
        assert done.returncode == 1
        assert "permanent at rcpt: 550 5.1.1 no such user" in done.stdout
        assert "is failed (refused)" in done.stderr

    def test_suppressed_mail_is_not_called_sent(self, terminal: Terminal, server: SmtpServer) -> None:
        """MAIL_SUPPRESS_SEND records it and sends nothing."""
        done = terminal.here("outbox-test-mail", "ann@example.org", env={"MAIL_SUPPRESS_SEND": "true"})
        assert (done.returncode, "MAIL_SUPPRESS_SEND" in done.stderr) == (1, True)
        assert server.messages == []

    def test_an_address_that_is_none_is_refused(self, terminal: Terminal) -> None:
        """Before anything is written."""
        done = terminal.here("outbox-test-mail", "nonsense")
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert states(terminal.engine) == {}


def test_what_a_worker_did_is_seen_by_the_status(terminal: Terminal) -> None:
    """The whole circle: sender, status, list."""
    put(terminal.engine)
    assert terminal.run("outbox-sender", "--drain").returncode == 0
    code, seen = terminal.json("outbox-status")
    assert (code, seen["states"][str(State.SENT)], seen["sent_last_minute"]) == (0, 1, 1)
