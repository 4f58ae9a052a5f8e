"""EHLO and what it decides: SIZE, 8BITMIME, SMTPUTF8, DSN and the rest; dot-stuffing; line ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from outbox.delivery.reply import About, Phase, Verdict
from outbox.settings.relay import Relay
from outbox.smtp import results, session
from outbox.smtp.connection import Connection
from tests.wire.actions import turns
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[[Relay], Connection]


def commands(server: SmtpServer) -> list[str]:
    return [line for line in server.commands if line.startswith(("MAIL", "RCPT"))]


def test_the_name_in_ehlo_is_an_address_literal(connect: Connect) -> None:
    """Without a host name of its own the client says its address, and asks no resolver."""
    with SmtpServer() as server:
        connect(server.relay()).deliver(envelope(), CONTENT)
        assert server.ehlo_names == ["[127.0.0.1]"]


def test_the_name_in_ehlo_can_be_set(connect: Connect) -> None:
    """`local_hostname` is what EHLO says."""
    with SmtpServer() as server:
        connect(server.relay(local_hostname="worker.example.org")).deliver(envelope(), CONTENT)
        assert server.ehlo_names == ["worker.example.org"]


def test_the_name_in_ehlo_over_ipv6(connect: Connect) -> None:
    """An IPv6 address has its tag (RFC 5321 §4.1.3)."""
    with SmtpServer(host="::1") as server:
        assert connect(server.relay()).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert server.ehlo_names == ["[IPv6:::1]"]


@pytest.mark.parametrize("extensions", [("SIZE 1000",), ("PIPELINING", "SIZE 1000")])
def test_a_message_over_the_servers_size(extensions: tuple[str, ...], connect: Connect) -> None:
    """It is not offered at all: permanent, with both sizes named; the connection goes on."""
    with SmtpServer(extensions=extensions) as server:
        connection = connect(server.relay())
        result = connection.deliver(envelope(size=5000), [CONTENT])
        assert (result.verdict, result.phase, result.reply.code) == (Verdict.PERMANENT, Phase.MAIL, None)
        assert "5000 bytes" in result.reply.text
        assert "1000 at most" in result.reply.text
        assert result.reusable
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert server.connections == 1
        assert commands(server) == [f"MAIL FROM:<a@example.org> SIZE={len(CONTENT)}", "RCPT TO:<b@example.net>"]


@pytest.mark.parametrize(
    "offer",
    ["SIZE", "SIZE 0", "SIZE nonsense", "SIZE 99999999999999999999", "SIZE " + "9" * 5000, "SIZE \xb2", "SIZE \u0665"],
    ids=ascii,
)
def test_a_size_without_a_limit(offer: str, connect: Connect) -> None:
    """SIZE without a number, or 0, is no limit (RFC 1870 §4)."""
    with SmtpServer(extensions=(offer,)) as server:
        assert connect(server.relay()).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


def test_nothing_is_said_that_was_not_offered(connect: Connect) -> None:
    """A server without extensions gets bare commands; options whose extension it lacks are left out."""
    options = {"mail_options": ("RET=HDRS", "BODY=8BITMIME", "SIZE=1"), "rcpt_options": ("NOTIFY=FAILURE",)}
    with SmtpServer(extensions=()) as server:
        assert connect(server.relay()).deliver(envelope(**options), CONTENT).verdict is Verdict.ACCEPTED
        assert commands(server) == ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>"]


def test_options_are_passed_on_where_offered(connect: Connect) -> None:
    """DSN's parameters (RFC 3461) reach a server that offers DSN; SIZE is our own."""
    options = {"mail_options": ("RET=HDRS", "ENVID=x-1", "SIZE=1"), "rcpt_options": ("NOTIFY=FAILURE,DELAY",)}
    with SmtpServer(extensions=("SIZE", "dsn")) as server:
        connect(server.relay()).deliver(envelope(**options), CONTENT)
        assert commands(server) == [
            f"MAIL FROM:<a@example.org> SIZE={len(CONTENT)} RET=HDRS ENVID=x-1",
            "RCPT TO:<b@example.net> NOTIFY=FAILURE,DELAY",
        ]


def test_the_null_sender(connect: Connect) -> None:
    """An empty sender is `<>`."""
    with SmtpServer(extensions=()) as server:
        connect(server.relay()).deliver(envelope(sender=""), CONTENT)
        assert commands(server)[0] == "MAIL FROM:<>"


@pytest.mark.parametrize(
    "changes",
    [{"smtputf8": True}, {"recipient": "jörg@example.net"}, {"sender": "用户@example.org"}],
    ids=["headers", "recipient", "sender"],
)
def test_smtputf8(changes: dict[str, Any], connect: Connect) -> None:
    """Non-ASCII addresses or headers go to servers that offer SMTPUTF8; elsewhere they are a clear permanent fault."""
    with SmtpServer(extensions=("SMTPUTF8", "8BITMIME", "PIPELINING")) as server:
        assert connect(server.relay()).deliver(envelope(**changes), CONTENT).verdict is Verdict.ACCEPTED
        assert "SMTPUTF8" in commands(server)[0]
        assert changes.get("recipient", "b@example.net") == server.messages[0].rcpt
    with SmtpServer(extensions=("8BITMIME",)) as server:
        result = connect(server.relay()).deliver(envelope(**changes), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.PERMANENT, Phase.MAIL)
        assert "SMTPUTF8" in result.reply.text
        assert commands(server) == []


def test_8bitmime(connect: Connect) -> None:
    """BODY=8BITMIME is said only for content that needs it; where it is needed and not offered, nothing is sent."""
    eight = CONTENT + "größer\r\n".encode()
    with SmtpServer(extensions=("8BITMIME",)) as server:
        connection = connect(server.relay())
        connection.deliver(envelope(), CONTENT)
        connection.deliver(envelope(), eight)
        assert [line.endswith("BODY=8BITMIME") for line in commands(server)] == [False, False, True, False]
        assert server.messages[1].content == eight
    with SmtpServer(extensions=()) as server:
        result = connect(server.relay()).deliver(envelope(), eight)
        assert (result.verdict, result.phase) == (Verdict.PERMANENT, Phase.MAIL)
        assert "8BITMIME" in result.reply.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b".\r\n",
        b"..\r\n",
        b"\r\n.\r\n.\r\n..\r\n",
        b"Subject: x\r\n\r\nno line end",
        b"Subject: x\r\n\r\n.",
        b"Subject: x\r\n\r\n\r\n\r\n",
    ],
)
@pytest.mark.parametrize("ask", [None, lambda: True], ids=["at once", "asked"])
def test_dots(content: bytes, ask: Callable[[], bool] | None, connect: Connect) -> None:
    """Lines that begin with a dot arrive as they were; a line end is added at the end if there is none."""
    with SmtpServer() as server:
        result = connect(server.relay()).deliver(envelope(size=0), content, before_dot=ask)
        assert result.verdict is Verdict.ACCEPTED
        assert server.messages[0].content == (content if content.endswith(b"\r\n") else content + b"\r\n")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 70_000])
def test_content_in_pieces(size: int, connect: Connect) -> None:
    """However the content is cut into pieces, the same bytes arrive."""
    content = b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\n" + b"line\r\n" * 30_000 + b".end"
    if size < 10:
        content = content[:40] + b"\r\n"
    pieces = (content[start : start + size] for start in range(0, len(content), size))
    with SmtpServer(extensions=("PIPELINING",)) as server:
        assert connect(server.relay()).deliver(envelope(size=0), pieces).verdict is Verdict.ACCEPTED
        assert server.messages[0].content == (content if content.endswith(b"\r\n") else content + b"\r\n")


def test_a_dot_at_the_start_of_a_piece_is_not_one_at_the_start_of_a_line(connect: Connect) -> None:
    """Only the latter is doubled."""
    with SmtpServer() as server:
        connect(server.relay()).deliver(envelope(size=0), [b"x" * 70_000, b".y\r\n", b".z\r\n"])
        assert server.messages[0].content == b"x" * 70_000 + b".y\r\n.z\r\n"


@pytest.mark.parametrize(
    "content",
    [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\r\nMAIL FROM:<x@y>\r\n", b"a\r\n.\nb", b"a\r", b"\n", b"a\r\r\n", b"a\n\r\n"],
)
@pytest.mark.parametrize("size", [None, 1, 2])
def test_no_bare_line_ends(content: bytes, size: int | None, connect: Connect) -> None:
    """A bare CR or LF, which some servers take for a line end (SMTP smuggling), is never sent."""
    pieces = content if size is None else [content[at : at + size] for at in range(0, len(content), size)]
    with SmtpServer() as server:
        connection = connect(server.relay())
        result = connection.deliver(envelope(size=0), pieces)
        assert result.verdict is Verdict.PERMANENT
        assert "CR or LF" in result.reply.text
        connection.close()
        assert server.messages == []


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "b@example.net>\r\nRCPT TO:<evil@example.net"},
        {"recipient": "b@example.net> NOTIFY=NEVER"},
        {"sender": "a@example.org\n"},
        {"sender": "\ud800@example.org"},
        {"mail_options": ("RET=HDRS\r\nRSET",)},
        {"rcpt_options": ("NOTIFY=NEVER ORCPT=x",)},
    ],
)
def test_an_envelope_that_breaks_out_of_its_command(changes: dict[str, Any], connect: Connect) -> None:
    """A damaged envelope is a permanent fault of this mail; nothing of it is sent."""
    with SmtpServer() as server:
        result = connect(server.relay()).deliver(envelope(**changes), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.PERMANENT, Phase.LOCAL)
        assert server.connections == 0


@pytest.mark.parametrize(
    "name", ["b\N{LATIN SMALL LETTER U WITH DIAERESIS}ro.example", "a b", "a\r\nRSET", "\ud800"], ids=ascii
)
def test_a_name_for_ehlo_that_can_not_be_said(name: str, connect: Connect) -> None:
    """It is a fault of the configuration, with the remedy; no message's, and no exception."""
    with SmtpServer() as server:
        result = connect(server.relay(local_hostname=name)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.about) == (Verdict.CONFIGURATION, About.RELAY)
        assert "OUTBOX_LOCAL_HOSTNAME" in result.reply.text
        assert server.connections == 0


def test_an_error_of_ours_while_connecting(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before a command of the message was said it is never the message's: a value, and the traceback in the log."""

    def broken(offers: object, limit: str) -> int:
        raise LookupError("a defect")

    monkeypatch.setattr(session, "announced", broken)
    with SmtpServer() as server:
        connection = connect(server.relay())
        result = connection.deliver(envelope(), CONTENT)
        assert (result.verdict, result.about) == (Verdict.TRANSPORT, About.RELAY)
        assert "LookupError" in result.reply.text
        assert not connection.is_open
        assert connection.check().reply == result.reply
        monkeypatch.undo()
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert "a defect" in caplog.text


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("name", ["relay_id", "retry_after"])
def test_words_that_we_can_not_read(step: str, name: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours in reading what a reply says beside its code changes nothing about the verdict."""

    def broken(reply: object) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(results, name, broken)
    with SmtpServer({step: turns("451 4.3.0 try again in 5 \u017f", None)}) as server:
        connection = connect(server.relay())
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.TRANSIENT
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert len(server.messages) == 1


@pytest.mark.parametrize("host", ["fe80::1%nosuch", "a\0b", "\ud800.example"], ids=ascii)
def test_a_host_that_can_not_be_looked_up(host: str, connect: Connect) -> None:
    """Whatever the resolver raises is a value, in time."""
    result = connect(Relay(host=host, allow_plaintext=True, connect_timeout=60)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase, result.about) == (Verdict.TRANSPORT, Phase.RESOLVE, About.RELAY)
    assert result.duration < 20


@pytest.mark.parametrize("tls", [None, "starttls"])
@pytest.mark.parametrize("offered", [True, False])
def test_requiretls(tls: str | None, offered: bool, connect: Callable[..., Connection]) -> None:
    """A condition (RFC 8689): a relay that does not offer it, or not over TLS, is offered nothing of the mail."""
    with SmtpServer(tls=tls, **({"extensions": ("REQUIRETLS",)} if offered else {})) as server:
        result = connect(server.relay()).deliver(envelope(mail_options=("REQUIRETLS",)), CONTENT)
        if tls and offered:
            assert result.verdict is Verdict.ACCEPTED
            assert any(line.startswith("MAIL ") and line.endswith(" REQUIRETLS") for line in server.commands)
        else:
            assert result.verdict is Verdict.PERMANENT
            assert "asks for REQUIRETLS" in result.reply.text
            assert not any(line.startswith("MAIL ") for line in server.commands)
