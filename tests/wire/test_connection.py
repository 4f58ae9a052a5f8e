"""One connection over many mails: reused while it is beyond doubt, replaced without anybody's fault when it is not."""

from __future__ import annotations

import select
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import flask_mail
import pytest

from outbox.core.errors import OutboxError
from outbox.delivery.reply import Phase, Result, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from tests.wire.actions import CLOSE, GARBAGE, RESET, SILENCE, Action, Both, Later, Raw, Take, turns
from tests.wire.conftest import CONTENT, envelope, mail_state
from tests.wire.server import SmtpServer

Connect = Callable[..., Connection]
MODES = pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
ACCEPTED = Verdict.ACCEPTED
IN_TIME = 15.0  # seconds: long for a machine that is busy, short beside the limits that must not have been waited for


def deliver(connection: Connection, *recipients: str) -> list[Result]:
    """One mail to each recipient."""
    return [connection.deliver(envelope(recipient), CONTENT) for recipient in recipients]


def limit(action: Action) -> float:
    """The command timeout: short only where the server is silent, from the start or amid its reply."""
    return 2.0 if action in (SILENCE, Raw(b"42")) else 30.0


def verdicts(results: list[Result]) -> list[Verdict]:
    return [result.verdict for result in results]


@MODES
def test_a_connection_serves_many_mails(extensions: tuple[str, ...], connect: Connect) -> None:
    """Ten mails, one connection, each exactly as it was, and no RSET where none is needed."""
    with SmtpServer(extensions=extensions) as server:
        names = [f"r{number}@example.net" for number in range(10)]
        results = deliver(connect(server.relay()), *names)
        assert verdicts(results) == [ACCEPTED] * 10
        assert all(result.reusable and result.phase is Phase.DOT for result in results)
        assert [tuple(mail) for mail in server.messages] == [("a@example.org", name, CONTENT) for name in names]
        assert server.connections == 1
        assert "RSET" not in server.commands


def test_commands_go_out_in_one_piece_where_that_is_offered(connect: Connect) -> None:
    """With PIPELINING, RCPT and DATA are there when MAIL is looked at."""
    pending: list[bytes] = []

    def look(client: Any) -> None:
        pending.append(client.pending)

    with SmtpServer({"mail": look}) as server:
        assert verdicts(deliver(connect(server.relay()), "b@example.net")) == [ACCEPTED]
        assert pending == [b"RCPT TO:<b@example.net>\r\nDATA\r\n"]


def test_commands_go_out_one_at_a_time_where_it_is_not(connect: Connect) -> None:
    """Without PIPELINING no command is sent before the reply to the one before it, RSET included."""
    with SmtpServer({"rcpt": turns("550 5.1.1 no")}, extensions=()) as server:
        results = deliver(connect(server.relay()), "b@example.net", "c@example.net")
        assert verdicts(results) == [Verdict.PERMANENT, ACCEPTED]
        assert server.ahead == []
        assert server.connections == 1


@MODES
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("reply", ["450 4.2.0 later", "550 5.1.1 no"])
def test_a_refused_mail_does_not_touch_the_next(
    step: str, reply: str, extensions: tuple[str, ...], connect: Connect
) -> None:
    """After a refusal the connection is kept: RSET, then the next mail, whose replies are its own."""
    with SmtpServer({step: turns(reply)}, extensions=extensions) as server:
        first, second = deliver(connect(server.relay()), "b@example.net", "c@example.net")
        assert (first.reply.code, first.phase.value, first.reusable) == (int(reply[:3]), step, True)
        assert second.verdict is ACCEPTED
        assert [mail.rcpt for mail in server.messages] == ["c@example.net"]
        assert server.connections == 1
        assert server.commands.count("RSET") == 1


@MODES
@pytest.mark.parametrize("action", ["421 4.3.0 no", "500 what", CLOSE, RESET, GARBAGE, SILENCE], ids=str)
def test_a_reset_that_fails_costs_nothing(action: Action, extensions: tuple[str, ...], connect: Connect) -> None:
    """A failing RSET is a new connection for the next mail, and no fault."""
    with SmtpServer({"rcpt": turns("550 5.1.1 no"), "rset": action}, extensions=extensions) as server:
        connection = connect(server.relay(command_timeout=limit(action)))
        assert verdicts(deliver(connection, "b@example.net", "c@example.net")) == [Verdict.PERMANENT, ACCEPTED]
        assert server.connections == 2


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_421_closes_the_connection(step: str, connect: Connect) -> None:
    """After a 421 nothing more is said on this connection, not even QUIT."""
    with SmtpServer({step: turns("421 4.3.2 closing")}, extensions=()) as server:
        connection = connect(server.relay())
        (first,) = deliver(connection, "b@example.net")
        assert (first.verdict, first.reusable, connection.is_open) == (Verdict.TRANSPORT, False, False)
        assert connection.host is None
        assert verdicts(deliver(connection, "c@example.net")) == [ACCEPTED]
        assert server.connections == 2
        assert "QUIT" not in server.commands


def test_data_accepted_for_nobody(connect: Connect) -> None:
    """354 after a refused RCPT: the verdict is RCPT's, nothing is delivered, the connection is given up."""
    with SmtpServer({"rcpt": turns("550 5.1.1 no"), "data": turns("354 go ahead")}) as server:
        connection = connect(server.relay())
        first, second = deliver(connection, "b@example.net", "c@example.net")
        assert (first.verdict, first.phase, first.reusable) == (Verdict.PERMANENT, Phase.RCPT, False)
        assert second.verdict is ACCEPTED
        assert [mail.rcpt for mail in server.messages] == ["c@example.net"]
        assert server.connections == 2


@pytest.mark.parametrize("action", [CLOSE, RESET, GARBAGE, SILENCE], ids=str)
def test_what_follows_the_deciding_reply_decides_nothing(action: Action, connect: Connect) -> None:
    """RCPT was refused: that holds, whatever becomes of the replies to what was pipelined behind it."""
    with SmtpServer({"rcpt": turns("550 5.1.1 no"), "data": turns(action)}) as server:
        connection = connect(server.relay(command_timeout=limit(action)))
        first, second = deliver(connection, "b@example.net", "c@example.net")
        assert (first.verdict, first.phase, first.reusable) == (Verdict.PERMANENT, Phase.RCPT, False)
        assert second.verdict is ACCEPTED


@MODES
@pytest.mark.parametrize("action", [CLOSE, RESET, GARBAGE, SILENCE, "421 4.4.2 idle too long", Raw(b"42")], ids=str)
def test_a_stale_connection_is_repaired_in_silence(
    action: Action, extensions: tuple[str, ...], connect: Connect
) -> None:
    """A reused connection that fails before MAIL had a reply is nobody's fault: one new connection, no word of it."""
    with SmtpServer({"mail": turns(None, action)}, extensions=extensions) as server:
        connection = connect(server.relay(command_timeout=limit(action)))
        assert verdicts(deliver(connection, "b@example.net", "c@example.net")) == [ACCEPTED, ACCEPTED]
        assert server.connections == 2
        assert [mail.rcpt for mail in server.messages] == ["b@example.net", "c@example.net"]


@pytest.mark.parametrize("words", [b"", b"421 4.4.2 idle too long\r\n", b"250 stray\r\n", b"\0"])
@pytest.mark.parametrize("tls", [None, "starttls"])
def test_a_server_that_hung_up_in_the_meantime(words: bytes, tls: str | None, connect: Connect) -> None:
    """Closed while idle, with or without last words: the next mail goes over a new connection."""
    with SmtpServer(tls=tls) as server:
        connection = connect(server.relay())
        assert verdicts(deliver(connection, "b@example.net")) == [ACCEPTED]
        server.hang_up(words)
        assert verdicts(deliver(connection, "c@example.net")) == [ACCEPTED]
        assert server.connections == 2
        assert len(server.messages) == 2


def test_a_stray_reply_is_not_taken_for_the_next_mail(connect: Connect) -> None:
    """A late "550" that nobody asked for fails nobody."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        assert verdicts(deliver(connection, "b@example.net")) == [ACCEPTED]
        server.say_to_all(b"550 5.1.1 stray\r\n")
        assert verdicts(deliver(connection, "c@example.net")) == [ACCEPTED]
        assert server.connections == 2


def test_it_is_repaired_once_only(connect: Connect) -> None:
    """If the new connection fails as well, that is a fault of the transport."""
    with SmtpServer({"mail": turns(None, CLOSE, CLOSE, last_stays=True)}) as server:
        first, second = deliver(connect(server.relay()), "b@example.net", "c@example.net")
        assert (first.verdict, second.verdict, second.phase) == (ACCEPTED, Verdict.TRANSPORT, Phase.MAIL)
        assert server.connections == 2


def test_a_failure_later_in_the_transaction_is_not_repaired(connect: Connect) -> None:
    """Once MAIL has had a reply, a broken connection is told."""
    with SmtpServer({"rcpt": turns(None, CLOSE)}) as server:
        _, second = deliver(connect(server.relay()), "b@example.net", "c@example.net")
        assert (second.verdict, second.phase) == (Verdict.TRANSPORT, Phase.RCPT)


def test_a_connection_is_worn_out_after_so_many_mails(connect: Connect) -> None:
    """`max_messages` on one connection, then a QUIT and a fresh one."""
    with SmtpServer() as server:
        results = deliver(connect(server.relay(max_messages=2)), *[f"r{number}@example.net" for number in range(5)])
        assert verdicts(results) == [ACCEPTED] * 5
        assert (server.connections, server.commands.count("QUIT")) == (3, 2)


def test_an_idle_connection_is_not_reused() -> None:
    """After `idle_timeout` seconds without a mail the next one gets a fresh connection."""
    later = 0.0
    with SmtpServer() as server:
        connection = Connection(mail_state(), server.relay(idle_timeout=30), monotonic=lambda: time.monotonic() + later)
        with connection:
            deliver(connection, "b@example.net")
            later += 29
            deliver(connection, "c@example.net")
            later += 31
            deliver(connection, "d@example.net")
        assert (server.connections, len(server.messages)) == (2, 3)


def test_closing_says_quit(connect: Connect) -> None:
    """`close` is polite, can be repeated, and `deliver` opens again."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        connection.close()
        assert not connection.is_open
        deliver(connection, "b@example.net")
        assert connection.is_open
        connection.close()
        connection.close()
        assert server.commands.count("QUIT") == 1
        assert verdicts(deliver(connection, "c@example.net")) == [ACCEPTED]


def test_an_error_in_the_content_leaves_no_half_mail(connect: Connect) -> None:
    """What the caller's own code raises goes to the caller; the server has no mail, the connection is not reused."""

    def broken() -> Iterator[bytes]:
        yield b"Subject: x\r\n\r\n" + b"half\r\n" * 20_000
        raise LookupError("a part is missing")

    with SmtpServer() as server:
        connection = connect(server.relay())
        with pytest.raises(LookupError):
            connection.deliver(envelope(size=100), broken())
        assert not connection.is_open
        server.wait_until(lambda: server.unfinished)
        assert server.messages == []


def test_an_error_in_before_dot_leaves_no_mail(connect: Connect) -> None:
    """The same for what `before_dot` raises."""

    def before_dot() -> bool:
        raise LookupError("no database")

    with SmtpServer() as server:
        connection = connect(server.relay())
        with pytest.raises(LookupError):
            connection.deliver(envelope(), CONTENT, before_dot=before_dot)
        server.wait_until(lambda: server.unfinished)
        assert server.messages == []


def test_the_time_limit_of_one_mail_can_be_shorter(connect: Connect) -> None:
    """`timeout` bounds the time up to the dot where the caller has less than the relay allows."""
    with SmtpServer({"mail": SILENCE}) as server:
        started = time.monotonic()
        result = connect(server.relay(send_timeout=60, command_timeout=60)).deliver(envelope(), CONTENT, timeout=0.2)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.MAIL)
        assert time.monotonic() - started < IN_TIME


def test_the_wait_after_the_dot_has_a_limit_of_its_own(connect: Connect) -> None:
    """A relay that thinks longer than `send_timeout` about a whole mail is waited for, up to `dot_timeout`."""
    with SmtpServer({"dot": turns(Take(Later(1.5, "250 2.0.0 ok")), SILENCE)}) as server:
        patient = connect(server.relay(send_timeout=1, command_timeout=1, dot_timeout=30))
        assert verdicts(deliver(patient, "b@example.net")) == [ACCEPTED]
        started = time.monotonic()
        hasty = connect(server.relay(send_timeout=60, command_timeout=60, dot_timeout=0.3))
        assert verdicts(deliver(hasty, "c@example.net")) == [Verdict.UNKNOWN]
        assert time.monotonic() - started < IN_TIME


def test_two_replies_to_one_dot(connect: Connect) -> None:
    """The first one counts; the connection is out of step and not used again."""
    with SmtpServer({"dot": turns(Take(Raw(b"250 2.0.0 ok\r\n550 5.1.1 and no\r\n")))}) as server:
        first, second = deliver(connect(server.relay()), "b@example.net", "c@example.net")
        assert (first.verdict, first.reusable, second.verdict) == (ACCEPTED, False, ACCEPTED)
        assert server.connections == 2


def test_it_is_flask_mails_connection() -> None:
    """Flask-Mail's object model holds: a Connection whose host is an smtplib.SMTP that its own methods work on."""
    with SmtpServer(tls="starttls") as server, Connection(mail_state(), server.relay()) as connection:
        assert isinstance(connection, flask_mail.Connection)
        host = connection.configure_host()
        assert isinstance(host, smtplib.SMTP)
        assert host.noop()[0] == 250
        assert host.has_extn("SIZE")
        assert host.mail("a@example.org")[0] == 250
        assert host.rcpt("b@example.net")[0] == 250
        assert host.data(b"Subject: by hand\r\n\r\nhello\r\n")[0] == 250
        assert server.messages[0].rcpt == "b@example.net"
        host.set_debuglevel(2)


def test_flask_mails_own_send_is_refused() -> None:
    """`send` would bypass the outbox."""
    with pytest.raises(OutboxError, match="enqueues"):
        Connection(mail_state(), Relay()).send(None)  # type: ignore[arg-type]


def test_small_segments_do_not_wait(connect: Connect) -> None:
    """TCP_NODELAY is on: content and final dot in two writes cost no 40 ms."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        deliver(connection, "b@example.net")
        assert connection.host is not None
        assert connection.host.wire.sock is not None
        assert connection.host.wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        fastest = min(connection.deliver(envelope(), CONTENT, before_dot=lambda: True).duration for _ in range(20))
        assert fastest < 0.03


def test_taken_and_then_silence_is_told_apart_from_refused(connect: Connect) -> None:
    """Whether the server took the mail makes no difference to what we can know after the dot."""
    with SmtpServer({"dot": turns(Take(CLOSE), Both("250", CLOSE))}) as server:
        first, second = deliver(connect(server.relay()), "b@example.net", "c@example.net")
        assert first.verdict is Verdict.UNKNOWN
        assert second.verdict is ACCEPTED  # "250" without a text is a reply
        assert [mail.rcpt for mail in server.messages] == ["b@example.net"]


ARRIVED = (
    ("250 2.0.0 ok queued as 1", ACCEPTED),
    ("250 2.0.0 first\nsecond", ACCEPTED),
    ("550 5.7.1 spam", Verdict.PERMANENT),
    ("451 4.3.0 later", Verdict.TRANSIENT),
    (Raw(b"25"), Verdict.UNKNOWN),
    (Raw(b"250-first\r\n"), Verdict.UNKNOWN),
    (CLOSE, Verdict.UNKNOWN),
)


@pytest.mark.parametrize("tls", [None, "starttls"])
@pytest.mark.parametrize("how", ["the time is up", "the worker has to stop"])
@pytest.mark.parametrize(("action", "verdict"), ARRIVED, ids=str)
def test_a_reply_that_has_arrived_counts(
    action: Action, verdict: Verdict, how: str, tls: str | None, connect: Connect
) -> None:
    """A thread that was held up after the dot finds its time used up, and the reply in the socket: that one decides."""
    held_up: list[float] = []
    calls = 0

    def clock() -> float:
        """Stands still after the final dot until the relay has answered."""
        nonlocal calls
        host = connection.host
        if host is not None and host.phase is Phase.DOT and not held_up and (calls := calls + 1) == 2:
            assert select.select([host.wire.sock], [], [], 5)[0]
            held_up.append(1e6 if how == "the time is up" else 0.0)
            if how == "the worker has to stop":
                connection.abort()
        return time.monotonic() + sum(held_up)

    with SmtpServer({"dot": Take(action)}, tls=tls) as server:
        connection = connect(server.relay(dot_timeout=1), monotonic=clock)
        result = connection.deliver(envelope(), CONTENT)
        assert held_up
        assert (result.verdict, result.phase) == (verdict, Phase.DOT)
        assert connection.deliver(envelope("c@example.net"), CONTENT).phase is Phase.DOT
        assert server.connections == 2


@MODES
def test_an_answer_is_waited_for_as_long_as_commands_are(extensions: tuple[str, ...], connect: Connect) -> None:
    """A relay that is slow at one command or another: every message arrives once, over one connection."""
    names = [f"r{number}@example.net" for number in range(4)]
    script: dict[str, Any] = {"data": Later(0.3, "354 go"), "dot": Take(Later(0.3, "250 2.0.0 ok"))}
    with SmtpServer(script, extensions=extensions) as server:
        assert verdicts(deliver(connect(server.relay()), *names)) == [ACCEPTED] * 4
        assert [mail.rcpt for mail in server.messages] == names
        assert server.connections == 1
