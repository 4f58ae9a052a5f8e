"""Servers that are away, refuse, or are full: no mail pays for it, and everything goes on by itself."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import CommandWorker, ForkedWorker, Relay, Stage, free_port, until
from tests.wire.server import Client, SmtpServer


def transport(stage: Stage, worker: CommandWorker | ForkedWorker) -> dict[str, str]:
    """The worker's transport as it last told."""
    found: dict[str, str] = stage.transport(worker)
    return found


def untouched(stage: Stage) -> bool:
    """Whether no mail has paid for anything."""
    return all((row.state, row.attempts, row.rescues) == ("queued", 0, 0) for row in stage.deliveries())


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_a_server_that_is_down_costs_nothing(database: Database, make_stage: MakeStage) -> None:
    """No attempt is lost, nothing is held while it lasts, the status tells, and all flows when it is back."""
    port = free_port()
    stage = make_stage(database, port)
    worker = stage.fork()
    ids = stage.send_together(40)
    until(lambda: transport(stage, worker).get("state") == "open", "the breaker opens")
    assert "refused" in transport(stage, worker)["error"].lower()
    until(lambda: len(stage.attempts()) >= 3, "some probes")
    until(lambda: untouched(stage), "no mail is held")
    seen = stage.status()
    assert [one["state"] for one in seen["transports"]] == ["down"]
    assert seen["drain_seconds"] is None
    assert f"relay 127.0.0.1:{port}: down for " in seen["problems"][0]
    assert "Check that the relay runs, and that MAIL_SERVER and MAIL_PORT are right" in seen["problems"][0]
    with SmtpServer(port=port) as server:
        assert stage.settle() == {"sent": 40}
        assert len(server.messages) == len(ids)
        assert {row.attempts for row in stage.deliveries()} == {1}
        until(lambda: transport(stage, worker).get("state") == "closed", "the breaker closes")
        assert [one["state"] for one in stage.status()["transports"]] == ["up"]
    events = re.findall(r"status=(transport-\w+)", worker.log())
    assert events == ["transport-down", "transport-up"]


def test_the_status_does_not_wait_for_the_next_heartbeat(sqlite_database: Database, make_stage: MakeStage) -> None:
    """That a relay went out of use, or came back, is written down at that moment."""

    def state() -> str:
        return str(stage.status()["transports"][0]["state"])

    port = free_port()
    stage = make_stage(sqlite_database, port, OUTBOX_HEARTBEAT_SECONDS="900", OUTBOX_DEAD_AFTER_SECONDS="3600")
    with SmtpServer(port=port):
        stage.send(1)
        stage.fork()
        assert stage.settle() == {"sent": 1}
        assert state() == "up"
    stage.send(1)
    until(lambda: state() == "down", "the status says that it is down")
    with SmtpServer(port=port):
        assert stage.settle() == {"sent": 2}
        until(lambda: state() == "up", "the status says that it is back")


def test_a_relay_that_defers_everything_is_no_healthy_outbox(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Worker and relay are up and nothing is accepted: the status says so, with the relay's words."""
    with SmtpServer() as server:
        server.script["rcpt"] = lambda client: "450 4.2.0 Greylisted"
        patient = {"OUTBOX_RETRY_FIRST_SECONDS": "600"}  # or those that are due again at that moment are not deferred
        stage = make_stage(sqlite_database, server.port, **patient)
        stage.send_together(30)
        stage.fork()
        until(lambda: len(stage.attempts()) >= 30, "all were attempted")
        seen = stage.status()
        assert "deferred" in seen["problem_kinds"]
        assert any("450 4.2.0" in problem and "Greylisted" in problem for problem in seen["problems"])
        assert not seen["healthy"]
        assert seen["deferred"] == 30
        assert seen["deferred_last_hour"] == 30


def test_a_wrong_password_says_so_and_costs_nothing(sqlite_database: Database, make_stage: MakeStage) -> None:
    """The first refusal opens the breaker, with the server's words; the right password fixes it."""
    log_in = {"MAIL_USERNAME": "app", "MAIL_PASSWORD": "correct horse", "OUTBOX_ALLOW_PLAINTEXT": "true"}
    with SmtpServer(auth={"app": "right"}) as server:
        stage = make_stage(sqlite_database, server.port, **log_in)
        stage.send_together(20)
        worker = stage.fork()
        until(lambda: transport(stage, worker).get("state") == "open", "the breaker opens")
        assert "wrong user name or password" in transport(stage, worker)["error"]
        server.wait_until(lambda: server.steps["auth"] >= 3, what="probes")
        until(lambda: untouched(stage), "no mail is held")
        assert server.steps["auth"] < 12
        assert server.messages == []
        server.auth = {"app": "correct horse"}
        assert stage.settle() == {"sent": 20}
        assert "correct horse" not in worker.log()


def test_an_expired_certificate_says_so_and_costs_nothing(sqlite_database: Database, make_stage: MakeStage) -> None:
    """No mail and no password goes to a server that can't prove its name; a new certificate fixes it."""
    with SmtpServer(tls="starttls", certificate="expired") as server:
        stage = make_stage(sqlite_database, server.port, MAIL_USE_TLS="true", OUTBOX_TLS_CA_FILE=str(server.ca_file))
        stage.send_together(20)
        worker = stage.fork()
        until(lambda: transport(stage, worker).get("state") == "open", "the breaker opens")
        assert "expired" in transport(stage, worker)["error"]
        until(lambda: untouched(stage), "no mail is held")
        server.certificate = "good"
        assert stage.settle() == {"sent": 20}
        assert len(server.messages) == 20


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_quota_fails_no_mail(sqlite_database: Database, make_stage: MakeStage) -> None:
    """A minute of `550 5.4.5 Daily user sending limit exceeded`, all settings as by default: 10 offers at the most.

    The status is degraded and has the server's words; no mail fails or pays an attempt; afterwards each is sent once.
    """
    quota = "550 5.4.5 Daily user sending limit exceeded"
    offered: list[float] = []

    def rcpt(client: Client) -> str | None:
        if len(client.server.messages) < 50 or over.is_set():  # all connections are at work when it begins
            return None
        offered.append(time.monotonic())
        return quota

    over = threading.Event()  # set once the quota is over
    with SmtpServer({"rcpt": rcpt}) as server:
        stage = make_stage(sqlite_database, server.port, quick=False)
        stage.send_together(200)
        worker = stage.start()
        server.wait_until(lambda: offered, 30, "an offer that the quota refuses")
        until(lambda: quota in (transport(stage, worker).get("error") or ""), "the worker tells")
        status = stage.command("outbox-status")
        assert status.returncode == 1
        assert quota in " ".join(status.stdout.split())
        until(lambda: time.monotonic() - offered[0] > 60, "a minute of it", 70)
        assert 3 <= len(offered) <= 10
        until(lambda: set(stage.states()) == {"sent", "queued"}, "no mail is held or has failed")
        assert stage.states()["queued"] > 140
        over.set()
        assert stage.settle(60 * 1.1 + 30) == {"sent": 200}  # within one interval between probes, and a busy machine
        assert len({mail.rcpt for mail in server.messages}) == len(server.messages) == 200
        assert {row.attempts for row in stage.deliveries()} == {1}
        until(lambda: stage.command("outbox-status").returncode == 0, "the status is well again")


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.quick("postgresql")
def test_a_database_that_is_killed_and_restarted(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """In the middle of the mails: the worker goes on within 30 s by itself, nothing is lost."""
    if database.server is None or not database.server.controllable:
        pytest.skip("this server is not ours to kill")
    stage = make_stage(database, relay.port)
    ids = stage.send_together(300)
    worker = stage.start()
    until(lambda: len(relay.taken()) > 30, "mail flows")
    database.server.restart(immediate=True)
    stage.engine.dispose()
    assert stage.settle() == {"sent": 300}
    assert {one.id for one in relay.taken()} == set(ids)
    assert len(relay.taken()) - 300 <= 4
    until(lambda: transport(stage, worker), "the heartbeat")


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.quick("postgresql")
def test_a_database_that_is_away_is_waited_for(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """It is stopped, and stays so for longer than a heartbeat may be late: the worker waits, the status can't tell."""
    if database.server is None or not database.server.controllable:
        pytest.skip("this server is not ours to stop")
    stage = make_stage(database, relay.port)
    worker = stage.fork(ready=True)
    stage.send()
    stage.settle()
    stage.engine.dispose()
    database.server.stop()
    until(lambda: "the heartbeat waits for the database" in worker.log(), "the worker notices", 30)
    assert stage.command("outbox-status").returncode == 2
    assert not worker.dead
    database.server.start()
    stage.send(3)
    assert stage.settle() == {"sent": 4}
    until(lambda: stage.command("outbox-status").returncode == 0, "the status is well again")
    assert len(relay.taken()) == 4


def test_a_locked_database_is_waited_for(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Another process holds SQLite's only lock for seconds: the worker waits, and loses nothing."""
    stage = make_stage(sqlite_database, relay.port)
    stage.send_together(100)
    stage.fork(OUTBOX_LEASE_SECONDS="60")  # or what waits would be due again
    until(lambda: len(relay.taken()) > 10, "mail flows")
    with closing(sqlite3.connect(str(sqlite_database.path), timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = len(relay.taken())
        with pytest.raises(TimeoutError):
            until(lambda: len(relay.taken()) > before + 4, "mail that can't be recorded", 3)
        other.execute("ROLLBACK")
    assert stage.settle() == {"sent": 100}
    assert len(relay.taken()) == 100
