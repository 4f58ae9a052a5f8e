"""Whatever a relay refuses, and whosever fault it is: one bad thing stops only itself (promise 4)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxDelivery, OutboxMessage, OutboxPause
from outbox.store.pauses import ABANDONED_SECONDS, What, refuse
from outbox.store.types import DbNow
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, until
from tests.wire.actions import CLOSE, Action, Both, Later, Take
from tests.wire.server import Client, SmtpServer

BAD = "wrong@example.com"
NOT_ALLOWED = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
DENIED = "554 5.7.1 Relay access denied"
OTHERS = [f"r{n}@d{n % 5}.example" for n in range(20)]
ONE_AT_A_TIME = {"OUTBOX_CONNECTIONS": "1", "OUTBOX_PROBE_SECONDS": "60", "OUTBOX_PROBE_MAX_SECONDS": "60"}
"""No other connection goes on, and no probe comes in time, where one delivery stops the relay's use."""


def enqueue(stage: Stage, recipients: Iterable[str], sender: str = "app@example.org", **options: Any) -> None:
    """One message to each, in one transaction."""
    with stage.transaction() as session:
        for recipient in recipients:
            stage.outbox.enqueue(Message("x", recipients=[recipient], body="x\n", sender=sender), **options)
        session.commit()


def pauses(stage: Stage) -> list[Any]:
    """What is paused."""
    with stage.engine.connect() as connection:
        return list(connection.execute(sa.select(OutboxPause.__table__)).all())


def change_pauses(stage: Stage, **values: Any) -> None:
    """Set columns of every pause."""
    with stage.engine.begin() as connection:
        connection.execute(sa.update(OutboxPause).values(**values))


def of(stage: Stage, *recipients: str) -> set[tuple[str, int, str | None]]:
    """State, attempts and reason of the deliveries to these; all without."""
    rows = stage.deliveries()
    return {(one.state, one.attempts, one.reason) for one in rows if not recipients or one.recipient in recipients}


def offered(server: SmtpServer, command: str) -> int:
    """How often a command that contains this was received."""
    return sum(command in line for line in server.commands)


def overdue(stage: Stage) -> list[str]:
    """Whose mail has been due for a second, and is offered to nobody."""
    since = datetime.now(UTC) - timedelta(seconds=1)
    return [one.recipient for one in stage.deliveries() if one.state == "queued" and one.due_at < since]


def refuse_the_sender(client: Client) -> str | None:
    """As a relay does that knows which senders an account has."""
    return NOT_ALLOWED if BAD in client.line else None


def drop_the_first(client: Client) -> Action | None:
    """At DATA."""
    return CLOSE if "bad@one.example" in client.recipients else None


def test_a_sender_that_may_not_send_holds_up_nobody(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Its mail is the oldest of the queue; the rest is sent, the sender is paused, and released by what is accepted."""
    with SmtpServer({"mail": refuse_the_sender}) as server:
        stage = make_stage(sqlite_database, server.port)
        enqueue(stage, [f"w{n}@one.example" for n in range(5)], sender=BAD)
        enqueue(stage, OTHERS)
        stage.fork()
        until(lambda: stage.states()["sent"] == len(OTHERS), "the others are sent")
        (pause,) = until(lambda: pauses(stage), "the sender is paused")
        assert (pause.what, pause.value, pause.environment) == ("sender", BAD, "")
        assert (pause.transport, bool(pause.automatic)) == (f"127.0.0.1:{server.port}", True)
        assert pause.reply == NOT_ALLOWED
        assert of(stage, *OTHERS) == {("sent", 1, None)}
        until(lambda: stage.states() == {"sent": 20, "queued": 5}, "its mail is kept")
        assert of(stage, "w0@one.example") == {("queued", 0, "configuration")}
        status = stage.status()
        (listed,) = status["pauses"]
        assert (listed["what"], listed["value"], listed["reply"]) == ("sender", BAD, NOT_ALLOWED)
        told = dict(zip(status["problem_kinds"], status["problems"], strict=True))["scope-stopped"]
        assert f"refuses this sender while it takes other mail: {NOT_ALLOWED}. The account may not send as this" in told
        assert f"`outbox-resume --sender {BAD}`" in told
        assert f"sender {BAD}, for " in stage.command("outbox-resume").stdout

        until(lambda: len(overdue(stage)) == 5, "what had been claimed before the pause is back, and is held")
        before = offered(server, BAD)
        change_pauses(stage, probe_at=DbNow(-1.0))  # still refused: one delivery is offered, and no more
        until(lambda: offered(server, BAD) > before, "a probe")
        enqueue(stage, ["after@two.example"])
        until(lambda: ("sent", 1, None) in of(stage, "after@two.example"), "the others go on")
        until(lambda: [one.probe_seconds for one in pauses(stage)] == [1200], "the probe is recorded")
        assert offered(server, BAD) == before + 1

        del server.script["mail"]
        change_pauses(stage, probe_at=DbNow(-1.0))
        assert stage.settle() == {"sent": 26}
        until(lambda: not pauses(stage), "the sender is released")
    assert {one.attempts for one in stage.deliveries()} == {1}
    assert "scope-released" in stage.logs()


def test_a_person_releases_what_was_paused_by_itself(sqlite_database: Database, make_stage: MakeStage) -> None:
    """`outbox-resume` lifts it like any pause; the mail goes out before any probe."""
    with SmtpServer({"mail": refuse_the_sender}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_RETRY_FIRST_SECONDS="3")
        enqueue(stage, OTHERS)
        enqueue(stage, ["w@one.example"], sender=BAD)
        stage.fork()
        until(lambda: pauses(stage), "the sender is paused")
        del server.script["mail"]
        done = stage.command("outbox-resume", "--sender", BAD, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert BAD in json.dumps(json.loads(done.stdout))
        assert stage.settle() == {"sent": 21}
        assert not pauses(stage)


def test_what_is_paused_by_itself_expires(sqlite_database: Database, make_stage: MakeStage) -> None:
    """An automatic pause is no operator's hold: mail that is of no use any more ends as failed."""
    with SmtpServer({"mail": refuse_the_sender}) as server:
        # due again when the worker has long read what is paused
        stage = make_stage(sqlite_database, server.port, OUTBOX_RETRY_FIRST_SECONDS="3")
        enqueue(stage, OTHERS)
        enqueue(stage, ["w@one.example"], sender=BAD)
        stage.fork()
        until(lambda: pauses(stage), "the sender is paused")
        until(lambda: stage.states() == {"sent": 20, "queued": 1}, "the others are sent")
        before = offered(server, BAD)
        with stage.engine.begin() as connection:
            old = sa.update(OutboxMessage).where(OutboxMessage.envelope_from == BAD)
            connection.execute(old.values(expires_at=DbNow(-1.0)))
        assert stage.settle() == {"sent": 20, "failed": 1}
        assert of(stage, "w@one.example") == {("failed", 0, "expired")}
        assert offered(server, BAD) == before


def test_a_domain_that_is_throttled_holds_up_nobody(sqlite_database: Database, make_stage: MakeStage) -> None:
    """The relay limits what goes to one domain, without saying so: the domain is paused, and no sender."""
    slow = [f"s{n}@slow.example" for n in range(6)]

    def throttle(client: Client) -> str | None:
        return "450 4.7.1 rate limit exceeded, slow down" if "@slow.example" in client.line else None

    with SmtpServer({"rcpt": throttle}) as server:
        stage = make_stage(sqlite_database, server.port)
        enqueue(stage, slow[:3])
        enqueue(stage, slow[3:], sender="other@example.org")
        enqueue(stage, OTHERS)
        enqueue(stage, ["o@two.example"], sender="other@example.org")
        stage.fork()
        until(lambda: stage.states()["sent"] == 21, "the others are sent")
        (pause,) = until(lambda: pauses(stage), "the domain is paused")
        assert (pause.what, pause.value, bool(pause.automatic)) == ("domain", "slow.example", True)
        back = {("queued", 0)}  # what was under way when it was paused comes back
        until(lambda: {(state, attempts) for state, attempts, _ in of(stage, *slow)} == back, "nothing counts")
        del server.script["rcpt"]

        def all_sent() -> bool:
            states = stage.states()
            if not states["sending"]:  # again where none was due at that moment; a probe under way comes to its end
                change_pauses(stage, probe_at=DbNow(-1.0), probe_seconds=600.0)
            return states["sent"] == 27

        until(all_sent, "the domain is sent to")
        until(lambda: not pauses(stage), "the domain is released")


@pytest.mark.parametrize(
    "reply",
    [
        "450 4.7.1 <bob@one.example>: Recipient address rejected: rate limit exceeded, try again in 24 hours",
        "450 4.7.1 rate limit exceeded, try again in 24 hours",
    ],
)
def test_a_recipient_told_to_wait_a_day_waits_alone(
    reply: str, sqlite_database: Database, make_stage: MakeStage
) -> None:
    """It is the oldest of the queue; the others are sent within seconds, to its domain as well."""
    bob = "bob@one.example"
    with SmtpServer({"rcpt": lambda client: reply if bob in client.line else None}) as server:
        stage = make_stage(sqlite_database, server.port)
        enqueue(stage, [bob])
        enqueue(stage, [*OTHERS, "ann@one.example"])
        stage.fork()
        until(lambda: stage.states()["sent"] == 21, "the others are sent")
        assert [(one.state, one.recipient) for one in stage.deliveries() if one.state != "sent"] == [("queued", bob)]
        assert not pauses(stage)
        enqueue(stage, ["later@one.example"])
        until(lambda: stage.states()["sent"] == 22, "what comes later is sent")
        assert offered(server, bob) <= 5


@pytest.mark.parametrize("step", ["data", "rcpt"])
def test_a_message_that_breaks_connections_stops_only_itself(
    step: str, sqlite_database: Database, make_stage: MakeStage
) -> None:
    """The relay cuts the connection, or says 421, at the first of the queue: the others go at once."""

    def say(client: Client) -> Action | None:
        if step == "rcpt" and "bad@one.example" in client.line:
            return Both("421 4.7.0 bad@one.example: try later", CLOSE)
        return drop_the_first(client) if step == "data" else None

    with SmtpServer({step: say}) as server:
        stage = make_stage(sqlite_database, server.port, **ONE_AT_A_TIME)
        enqueue(stage, ["bad@one.example"])
        enqueue(stage, OTHERS)
        stage.fork()
        until(lambda: stage.states()["sent"] == len(OTHERS), "the others are sent")
        assert of(stage, *OTHERS) == {("sent", 1, None)}
        assert not pauses(stage)
        assert offered(server, "bad@one.example"), "it was the first"


@pytest.mark.parametrize(
    ("step", "bad"),
    [
        ("data", CLOSE),
        ("mail", "550 5.7.60 not allowed to send as this sender"),
        ("rcpt", "450 4.7.1 rate limit exceeded"),
    ],
)
def test_one_delivery_again_and_again_is_no_evidence(
    step: str, bad: Action, sqlite_database: Database, make_stage: MakeStage
) -> None:
    """Alone in the queue, it is refused time and again: what comes later is sent at once, not at the next probe."""

    def say(client: Client) -> Action | None:
        about = [client.line, *client.recipients]
        return bad if any("bad@one.example" in one for one in about) else None

    with SmtpServer({step: say}) as server:
        stage = make_stage(sqlite_database, server.port, **ONE_AT_A_TIME)
        enqueue(stage, ["bad@one.example"], sender="bad@one.example")
        stage.fork()
        until(lambda: server.steps[step] >= 5, "it is offered again and again")
        enqueue(stage, OTHERS)
        until(lambda: stage.states()["sent"] == len(OTHERS), "the others are sent")
    assert of(stage, *OTHERS) == {("sent", 1, None)}


def test_once_sends_what_is_behind_a_message_that_breaks(sqlite_database: Database, make_stage: MakeStage) -> None:
    """From cron, with the bad one first: the first run sends all others, and ends in 0, for the relay works."""
    with SmtpServer({"data": drop_the_first}) as server:
        stage = make_stage(sqlite_database, server.port, **ONE_AT_A_TIME)
        enqueue(stage, ["bad@one.example"])
        enqueue(stage, OTHERS)
        assert stage.start("--once", ready=False).wait(30) == 0
        assert stage.states()["sent"] == len(OTHERS)
        assert of(stage, *OTHERS) == {("sent", 1, None)}


def test_what_every_message_meets_fails_none(sqlite_database: Database, make_stage: MakeStage) -> None:
    """A relay that denies all: nothing fails and nothing counts, the status alarms; all is sent once it relents."""
    with SmtpServer({"rcpt": DENIED}) as server:
        stage = make_stage(sqlite_database, server.port)
        enqueue(stage, [f"r{n}@d{n % 5}.example" for n in range(60)])
        worker = stage.fork()
        until(lambda: stage.transport(worker).get("cause") == "refusals", "the breaker opens")
        until(lambda: stage.states() == {"queued": 60}, "all are kept")
        until(lambda: {one.attempts for one in stage.deliveries()} == {0}, "none counts")
        assert not {one.counted for one in stage.attempts()} - {False}
        status = stage.command("outbox-status")
        assert status.returncode == 1
        assert f"it refuses every message: rcpt: {DENIED}. The relay takes no mail for other domains" in status.stdout
        assert offered(server, "RCPT") < 60
        del server.script["rcpt"]
        assert stage.settle() == {"sent": 60}
    assert {one.attempts for one in stage.deliveries()} == {1}
    assert Counter(mail.rcpt for mail in server.messages) == Counter(f"r{n}@d{n % 5}.example" for n in range(60))


def test_runs_from_cron_find_together_what_every_message_meets(
    sqlite_database: Database, make_stage: MakeStage
) -> None:
    """Five deliveries a run are too few to tell: each run goes on from what the ones before have written down."""
    with SmtpServer({"rcpt": DENIED}) as server:
        stage = make_stage(sqlite_database, server.port)
        for run in range(3):
            enqueue(stage, [f"r{run}{n}@d{n}.example" for n in range(5)])
            code = stage.start("--once", ready=False).wait(30)
        assert code != 0
        assert stage.states() == {"queued": 15}
        assert {one.attempts for one in stage.deliveries()} == {0}
        del server.script["rcpt"]
        with stage.engine.begin() as connection:
            connection.execute(sa.update(OutboxDelivery).values(due_at=DbNow(-1.0)))
        assert stage.start("--once", ready=False).wait(30) == 0  # at once, and not when an hour is over
        assert stage.states() == {"sent": 15}


def test_a_restart_lifts_no_pause(sqlite_database: Database, make_stage: MakeStage) -> None:
    """What was accepted before a sender was paused is no reason for a new worker to release it."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port)
        enqueue(stage, ["a@one.example"])
        assert stage.start("--once", ready=False).wait(30) == 0
        with stage.engine.begin() as connection:
            words = {"environment": "", "transport": f"127.0.0.1:{server.port}", "reason": "test", "reply": "550 no"}
            refuse(connection, What.SENDER, "app@example.org", **words)
        stage.start("--once", ready=False).wait(30)
        assert [one.value for one in pauses(stage)] == ["app@example.org"]


def test_unknown_recipients_are_their_own_fault(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Thirty in a row, to many domains: each fails, and the relay is trusted."""
    with SmtpServer({"rcpt": "550 5.1.1 User unknown"}) as server:
        stage = make_stage(sqlite_database, server.port)
        enqueue(stage, [f"r{n}@d{n % 5}.example" for n in range(30)])
        worker = stage.fork()
        assert stage.settle() == {"failed": 30}
        assert of(stage) == {("failed", 1, "refused")}
        assert until(lambda: stage.transport(worker), "its health")["state"] == "closed"
    assert "transport-down" not in stage.logs()


def test_a_relay_that_lets_in_two_connections_is_used_with_two(
    sqlite_database: Database, make_stage: MakeStage
) -> None:
    """421 at the greeting of the third: those that work go on, nothing counts, and the breaker stays closed."""
    here: set[int] = set()

    def greet(client: Client) -> Action | None:
        with client.server._changed:
            if len(client.server.clients) <= 2:
                return None
        here.add(client.number)
        return Both("421 4.7.0 Error: too many connections from 127.0.0.1", CLOSE)

    with SmtpServer({"greeting": greet, "dot": Take(Later(0.02, "250 2.0.0 ok"))}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_CONNECTIONS="4")
        stage.send_together(300)
        stage.fork()
        words = "lets in 2 of the 4 connections of a worker, which goes on with these: greeting: 421 4.7.0 Error"
        until(lambda: any(words in note for note in stage.status()["notes"]), "the limit is told")
        assert stage.settle() == {"sent": 300}
        assert here, "a third connection was tried"
        assert len(here) < 10
    assert of(stage) == {("sent", 1, None)}
    assert "transport-down" not in stage.logs()


def test_a_relay_that_takes_three_at_a_time_gets_three(sqlite_database: Database, make_stage: MakeStage) -> None:
    """432 after the content for the fourth: fewer connections, nothing counts, and nobody stops."""
    busy: list[int] = []
    turned: list[int] = []

    def take(client: Client) -> Action | None:
        with client.server._changed:
            if len(busy) >= 3:
                turned.append(client.number)
                return "432 4.3.2 STOREDRV.ClientSubmit; Concurrent connections limit exceeded"
            busy.append(client.number)
        return Take(Later(0.05, "250 2.0.0 ok"))

    def leave(client: Client) -> None:
        with client.server._changed:
            if client.number in busy:
                busy.remove(client.number)

    with SmtpServer({"dot": take, "mail": leave, "rset": leave, "quit": leave}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_CONNECTIONS="4")
        stage.send_together(100)
        stage.fork()
        assert stage.settle() == {"sent": 100}
        assert turned, "a fourth was tried"
        assert len(turned) < 20
    assert of(stage) == {("sent", 1, None)}
    assert "transport-down" not in stage.logs()


def test_a_pause_that_holds_nothing_ends(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Of a sender that has sent nothing for hours: should it be refused again, it is paused again."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port)
        with stage.engine.begin() as connection:
            words = {"environment": "", "transport": f"127.0.0.1:{server.port}", "reason": "test", "reply": "550 no"}
            refuse(connection, What.SENDER, "gone@example.org", **words)
        change_pauses(stage, probe_at=DbNow(-1.0))
        stage.fork()
        until(lambda: pauses(stage)[0].probe_seconds == 1200, "a probe that finds nothing")
        change_pauses(stage, probe_at=DbNow(-1.0), probe_seconds=10_000.0)
        until(lambda: not pauses(stage), "the pause ends")


def test_pauses_of_a_transport_that_is_no_more_end(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Nobody probes them, and the status would name them for ever; one whose workers may only be away stays."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port)
        words = {"environment": "", "reason": "test", "reply": "550 no"}
        with stage.engine.begin() as connection:
            refuse(connection, What.SENDER, "gone@example.org", transport="old.example:25", **words)
            refuse(connection, What.SENDER, "own@example.org", transport=f"127.0.0.1:{server.port}", **words)
        change_pauses(stage, probe_at=DbNow(-ABANDONED_SECONDS - 60.0))
        with stage.engine.begin() as connection:
            refuse(connection, What.SENDER, "away@example.org", transport="other.example:25", **words)
        stage.fork()
        until(lambda: "gone@example.org" not in {one.value for one in pauses(stage)}, "the pause ends")
        assert {one.value for one in pauses(stage)} == {"own@example.org", "away@example.org"}
