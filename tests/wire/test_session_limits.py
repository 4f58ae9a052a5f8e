"""Refusals that are about the session, not about the message: once more over a fresh connection, and learnt from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from outbox.delivery.reply import About, Phase, Result, Verdict
from outbox.smtp.connection import Connection
from outbox.smtp.learned import ALIKE, VALID_SECONDS, Learned
from tests.wire.actions import Action
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[..., Connection]
MODES = pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
SESSION_WORDS = (
    "451 4.7.1 Too many messages in this session",
    "452 4.5.3 Maximum number of recipients per session reached",
    "450 4.7.0 too many mails on this connection, open another one",
    "554 5.7.0 Too many messages per connection",
)


def per_session(count: int, reply: str, step: str) -> dict[str, Any]:
    """A script that refuses at `step` whatever comes after `count` messages on one connection."""
    taken: dict[int, int] = {}

    def count_taken(client: Any) -> None:
        taken[client.number] = taken.get(client.number, 0) + 1

    def refuse(client: Any) -> Action | None:
        return reply if taken.get(client.number, 0) >= count else None

    return {"dot": count_taken, step: refuse}


def deliver(connection: Connection, count: int) -> list[Result]:
    return [connection.deliver(envelope(f"r{number}@example.net"), CONTENT) for number in range(count)]


@MODES
@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("reply", SESSION_WORDS)
def test_a_limit_on_messages_in_a_session(reply: str, step: str, extensions: tuple[str, ...], connect: Connect) -> None:
    """The message that is too many goes over a fresh connection at once; later ones come before the limit."""
    with SmtpServer(per_session(3, reply, step), extensions=extensions) as server:
        results = deliver(connect(server.relay()), 11)
        assert [result.verdict for result in results] == [Verdict.ACCEPTED] * 11
        assert [mail.rcpt for mail in server.messages] == [f"r{number}@example.net" for number in range(11)]
        assert server.connections == 4
        assert server.steps["mail"] == 12  # one refusal was enough to learn from


@MODES
@pytest.mark.parametrize(
    "reply", ["451 4.4.2 Timeout waiting for data from client.", "450 4.3.0 later", "421 4.7.0 no more here"]
)
def test_a_deferral_at_mail_on_a_used_connection(reply: str, extensions: tuple[str, ...], connect: Connect) -> None:
    """Whatever its words are: a fresh connection shows whether it is about the session."""
    with SmtpServer(per_session(1, reply, "mail"), extensions=extensions) as server:
        results = deliver(connect(server.relay()), 3)
        assert [result.verdict for result in results] == [Verdict.ACCEPTED] * 3
        assert server.connections == 3


def test_a_deferral_without_a_reason_is_learnt_only_when_it_comes_again(connect: Connect) -> None:
    """Connections that end alike have a limit; a single deferral is no proof of one."""
    with SmtpServer(per_session(2, "450 4.3.0 later", "mail")) as server:
        deliver(connect(server.relay()), 12)
        assert server.connections == 6
        assert server.steps["mail"] == 12 + ALIKE


@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("reply", ["451 4.7.1 Too many messages in this session", "450 4.3.0 later"])
def test_a_fresh_connection_is_believed(reply: str, step: str, connect: Connect) -> None:
    """Where the fresh one says the same, it is as the table of verdicts has it; and it was asked once."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        assert deliver(connection, 1)[0].verdict is Verdict.ACCEPTED
        server.script[step] = reply
        (result,) = deliver(connection, 1)
        assert (result.verdict, result.phase, result.about) == (Verdict.TRANSIENT, Phase(step), None)
        assert result.reply.text in reply
        assert server.steps[step] == (3 if "session" in reply or step == "mail" else 2)
        assert server.connections == server.steps[step] - 1


@pytest.mark.parametrize(
    ("step", "reply"),
    [("mail", "550 5.1.8 no"), ("rcpt", "450 4.2.0 greylisted"), ("rcpt", "550 5.1.1 no"), ("data", "451 4.3.0 later")],
)
def test_what_is_not_about_the_session_is_not_repeated(step: str, reply: str, connect: Connect) -> None:
    """A refusal that is final, or about the recipient, is believed on a used connection as well."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        deliver(connection, 1)
        server.script[step] = reply
        assert deliver(connection, 1)[0].reply.code == int(reply[:3])
        assert (server.connections, server.steps[step]) == (1, 2)


def test_too_many_for_the_session_after_the_dot(connect: Connect) -> None:
    """The content can't be had twice: nobody's fault, about the session, and the connection is closed."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        deliver(connection, 1)
        server.script["dot"] = "451 4.7.1 Too many messages in this session"
        (result,) = deliver(connection, 1)
        assert (result.verdict, result.phase, result.about) == (Verdict.TRANSPORT, Phase.DOT, About.SESSION)
        assert not result.reusable
        server.script.clear()
        assert deliver(connection, 1)[0].verdict is Verdict.ACCEPTED
        assert server.connections == 2


@pytest.mark.parametrize(
    ("offer", "connections"),
    [
        ("LIMITS MAILMAX=2", 3),
        ("LIMITS RCPTMAX=7 mailmax=1", 5),
        ("LIMITS MAILMAX=0", 1),
        ("LIMITS MAILMAX=", 1),
        ("LIMITS", 1),
        ("LIMITS MAILMAX=" + "9" * 5000, 1),
        ("LIMITS XMAILMAX=1", 1),
    ],
)
def test_an_announced_limit(offer: str, connections: int, connect: Connect) -> None:
    """LIMITS MAILMAX (RFC 9422): the connection ends with a QUIT before it is reached."""
    with SmtpServer(extensions=("PIPELINING", offer)) as server:
        assert [result.verdict for result in deliver(connect(server.relay()), 5)] == [Verdict.ACCEPTED] * 5
        assert server.connections == connections
        assert server.commands.count("QUIT") == connections - 1


def test_what_one_connection_learns_the_others_know(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A worker's connections share it, and one line of the log tells."""
    caplog.set_level(logging.INFO)
    learned = Learned()
    with SmtpServer(per_session(2, SESSION_WORDS[0], "mail")) as server:
        deliver(connect(server.relay(), learned=learned), 3)
        before = server.steps["mail"]
        deliver(connect(server.relay(), learned=learned), 6)
        assert server.steps["mail"] == before + 6
    assert [record.message for record in caplog.records if "takes 2 messages" in record.message]


def test_a_learnt_limit_is_forgotten() -> None:
    """The relay may have been configured anew meanwhile."""
    learned = Learned()
    learned.session_ended("relay", 5, 0.0, told=True)
    learned.session_ended("relay", 9, 1.0, told=True)
    assert learned.max_messages(2.0) == 5
    learned.session_ended("relay", 3, 2.0, told=True)
    assert learned.max_messages(VALID_SECONDS) == 3
    assert learned.max_messages(2.0 + VALID_SECONDS + 1) is None


def test_an_idle_time_out_that_is_told_at_mail(connect: Connect) -> None:
    """SES answers the first command after an idle time with a 451, and closes: no attempt of the message is lost."""
    later = 0.0
    with SmtpServer() as server:
        connection = connect(server.relay(), monotonic=lambda: time.monotonic() + later)
        deliver(connection, 1)
        server.script["mail"] = lambda client: (
            "451 4.4.2 Timeout waiting for data from client." if client.number == 1 else None
        )
        later += 20
        assert deliver(connection, 1)[0].verdict is Verdict.ACCEPTED
        assert server.connections == 2
