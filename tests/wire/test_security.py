"""TLS and log-in: verified, never weaker than asked for, and no secret where it does not belong."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outbox.relay import Relay, Security
from outbox.reply import Phase, Verdict
from outbox.transport import Connection, tls_context
from tests.wire.actions import Close, turns
from tests.wire.certificates import ca_file
from tests.wire.conftest import CONTENT, envelope, mail_state
from tests.wire.server import SmtpServer

Connect = Callable[[Relay], Connection]
TLS = pytest.mark.parametrize("tls", ["starttls", "implicit"])
PASSWORD = "p\N{LATIN SMALL LETTER A WITH DIAERESIS}ss-w0rd"


@TLS
def test_verified_tls(tls: str, connect: Connect) -> None:
    """A certificate by the CA file's issuer for the host's name is accepted, TLS 1.2 or later."""
    with SmtpServer(tls=tls) as server:
        connection = connect(server.relay())
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert connection.tls_version in {"TLSv1.2", "TLSv1.3"}


@TLS
def test_by_name(tls: str, connect: Connect) -> None:
    """The certificate must name the host as it was configured."""
    with SmtpServer(tls=tls) as server:
        assert connect(server.relay(host="localhost")).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


@TLS
def test_by_absolute_name(tls: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dot at the end is for the resolver; certificates and SNI know names without it."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", *arguments, **options)  # few machines have a name server for the tests

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with SmtpServer(tls=tls) as server:
        assert connect(server.relay(host="localhost.")).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert asked == ["localhost."]


@TLS
@pytest.mark.parametrize("certificate", ["expired", "wrong host", "unknown issuer"])
def test_nothing_is_said_to_a_server_that_is_not_proven(certificate: str, tls: str, connect: Connect) -> None:
    """No log-in, no envelope, and the words say what is wrong with the certificate."""
    with SmtpServer(tls=tls, certificate=certificate, auth={"u": PASSWORD}) as server:
        result = connect(server.relay(username="u", password=PASSWORD)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.TLS)
        assert "certificate" in result.reply.text
        assert not [line for line in server.commands if line.startswith(("AUTH", "MAIL"))]


def test_without_ca_file_the_systems_store_counts(connect: Connect) -> None:
    """A private issuer is unknown to it."""
    with SmtpServer(tls="starttls") as server:
        result = connect(server.relay(ca_file=None)).deliver(envelope(), CONTENT)
        assert result.verdict is Verdict.CONFIGURATION


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used(content: str | None, tmp_path: Path, connect: Connect) -> None:
    """It is a fault of the configuration, told as a value, with the file's name."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with SmtpServer(tls="implicit") as server:
        result = connect(server.relay(ca_file=path)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.TLS)
        assert str(path) in result.reply.text


def test_a_ca_file_that_was_mended_is_read_again(tmp_path: Path, connect: Connect) -> None:
    """The worker need not be started again."""
    path = tmp_path / "ca.pem"
    path.write_text("nonsense")
    with SmtpServer(tls="implicit") as server:
        connection = connect(server.relay(ca_file=path))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.CONFIGURATION
        path.write_bytes(ca_file().read_bytes())
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


@TLS
def test_not_verified_where_it_is_said_so(tls: str, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """`verify=False` takes any certificate, and one warning for each relay says what that means."""
    with SmtpServer(tls=tls, certificate="wrong host") as server:
        for _ in range(2):
            connection = connect(server.relay(verify=False, ca_file=None))
            assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert [record.levelname for record in caplog.records if "not verified" in record.message] == ["WARNING"]


def test_the_context() -> None:
    """TLS 1.2 at least, certificate required, host name checked."""
    context = tls_context(Relay(security=Security.TLS))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_starttls_is_never_left_out(connect: Connect) -> None:
    """A server that does not offer STARTTLS, or someone who removed the offer, gets neither log-in nor mail."""
    with SmtpServer(tls="starttls", strip_starttls=True, auth={"u": PASSWORD}) as server:
        result = connect(server.relay(username="u", password=PASSWORD)).deliver(envelope(), CONTENT)
        assert result.verdict is Verdict.CONFIGURATION
        assert [line.split()[0] for line in server.commands] == ["EHLO"]


def test_what_was_offered_in_plain_text_is_forgotten(connect: Connect) -> None:
    """After STARTTLS only the new EHLO counts (RFC 3207 §4.2)."""
    script = {"ehlo": "250 hi\nSTARTTLS\nPIPELINING\nAUTH PLAIN\nSIZE 1", "ehlo_tls": "250 hi\n8BITMIME"}
    with SmtpServer(script, tls="starttls") as server:
        connection = connect(server.relay())
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert connection.extensions == {"8bitmime": ""}


MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5"]


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "XOAUTH2"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_log_in(mechanism: str, tls: str, connect: Connect) -> None:
    """Each mechanism logs in with the right password, non-ASCII ones included."""
    insist = mechanism if mechanism == "XOAUTH2" else None
    with SmtpServer(tls=tls, auth={"u@example.org": PASSWORD}, mechanisms=mechanism) as server:
        connection = connect(server.relay(username="u@example.org", password=PASSWORD, auth=insist))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert f"AUTH {mechanism}" in server.commands


@pytest.mark.parametrize("mechanism", [None, *MECHANISMS, "XOAUTH2"])
def test_a_wrong_password(mechanism: str | None, connect: Connect) -> None:
    """It is a fault of the configuration, tried once: a second try would count towards a lock-out."""
    with SmtpServer(tls="starttls", auth={"u": PASSWORD}) as server:
        result = connect(server.relay(username="u", password="wrong", auth=mechanism)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase, result.reply.code) == (Verdict.CONFIGURATION, Phase.AUTH, 535)
        assert len([line for line in server.commands if line.startswith("AUTH")]) == 1
        if mechanism == "XOAUTH2":
            assert '"status":"401"' in result.reply.text


def test_xoauth2_is_for_those_who_ask_for_it(connect: Connect) -> None:
    """A password is no access token: without `auth="XOAUTH2"` it is not sent as one."""
    with SmtpServer(tls="starttls", auth={"u": PASSWORD}, mechanisms="XOAUTH2") as server:
        result = connect(server.relay(username="u", password=PASSWORD)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.AUTH)
        assert "XOAUTH2" in result.reply.text
        assert not [line for line in server.commands if line.startswith("AUTH")]


def test_a_mechanism_that_is_offered_and_not_supported(connect: Connect) -> None:
    """504 to one mechanism: the next one is tried."""
    script = {"auth": turns("504 5.5.4 not really")}
    with SmtpServer(script, tls="starttls", auth={"u": PASSWORD}, mechanisms="PLAIN LOGIN") as server:
        connection = connect(server.relay(username="u", password=PASSWORD))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert [line for line in server.commands if line.startswith("AUTH")] == ["AUTH PLAIN", "AUTH LOGIN"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"username": "u", "password": PASSWORD}, "plain text"),
        ({"username": "u"}, "password"),
        ({"username": "u", "password": ""}, "password"),
        ({"host": "mail.example.org"}, "plain text"),
    ],
)
def test_no_password_and_no_mail_in_plain_text(changes: dict[str, Any], word: str, connect: Connect) -> None:
    """Our own settings forbid it: told before any connection is made."""
    with SmtpServer(auth={"u": PASSWORD}) as server:
        result = connect(server.relay(**changes)).deliver(envelope(), CONTENT)
        assert result.verdict is Verdict.CONFIGURATION
        assert word in result.reply.text
        assert server.connections == 0


def test_plain_text_where_it_is_allowed(connect: Connect) -> None:
    """`allow_plaintext` permits a log-in without TLS; the one that hides the password is preferred."""
    with SmtpServer(auth={"u": PASSWORD}) as server:
        connection = connect(server.relay(username="u", password=PASSWORD, allow_plaintext=True))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert "AUTH CRAM-MD5" in server.commands


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "XOAUTH2"])
def test_no_secret_and_no_content_in_a_log(
    mechanism: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """With every logger at its loudest and MAIL_DEBUG on, commands are logged, and neither password nor content."""
    caplog.set_level(logging.DEBUG)
    with SmtpServer(tls="starttls", auth={"u": PASSWORD}) as server:
        relay = server.relay(username="u", password=PASSWORD, auth=mechanism)
        with Connection(mail_state(debug=2), relay) as connection:
            assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
            assert connection.host is not None
            connection.host.set_debuglevel(2)
            assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    captured = capfd.readouterr()
    logged = caplog.text + captured.out + captured.err
    assert "RCPT TO:<b@example.net>" in logged
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), "last line"):
        assert secret not in logged
    assert base64.b64encode(f"\0u\0{PASSWORD}".encode()).decode() not in logged
    assert PASSWORD not in repr(relay)


@TLS
def test_check(tls: str, connect: Connect) -> None:
    """`check` says that mail could go, over which TLS and with which extensions; nothing is sent."""
    with SmtpServer(tls=tls, auth={"u": PASSWORD}) as server:
        connection = connect(server.relay(username="u", password=PASSWORD))
        result = connection.check()
        assert result.verdict is Verdict.ACCEPTED
        assert connection.extensions["pipelining"] == ""
        assert connection.tls_version in {"TLSv1.2", "TLSv1.3"}
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert server.connections == 1


@pytest.mark.parametrize(
    ("script", "changes", "verdict", "phase"),
    [
        ({"greeting": "554 go away"}, {}, Verdict.TRANSPORT, Phase.GREETING),
        ({}, {"password": "wrong"}, Verdict.CONFIGURATION, Phase.AUTH),
        ({"noop": "421 no"}, {}, Verdict.TRANSPORT, Phase.MAIL),
        ({"rset": "550 5.4.5 Daily sending limit exceeded"}, {}, Verdict.TRANSPORT, Phase.MAIL),
    ],
)
def test_check_tells_what_is_wrong(
    script: Any, changes: dict[str, Any], verdict: Verdict, phase: Phase, connect: Connect
) -> None:
    """`check` gives the verdict that a mail would get."""
    with SmtpServer(script, tls="starttls", auth={"u": PASSWORD}) as server:
        result = connect(server.relay(**{"username": "u", "password": PASSWORD} | changes)).check()
        assert (result.verdict, result.phase) == (verdict, phase)


@TLS
def test_probe(tls: str, connect: Connect) -> None:
    """MAIL, RCPT and RSET over the connection of the check, and nothing else."""
    with SmtpServer(tls=tls, auth={"u": PASSWORD}) as server:
        connection = connect(server.relay(username="u", password=PASSWORD))
        assert connection.check().verdict is Verdict.ACCEPTED
        server.commands.clear()
        assert connection.probe("a@example.org").phase is Phase.MAIL
        result = connection.probe("a@example.org", "b@example.net")
        assert (result.verdict, result.phase, result.reply.code) == (Verdict.ACCEPTED, Phase.RCPT, 250)
        server.wait_until(lambda: len(server.commands) == 5)
        assert [line.partition(" ")[0] for line in server.commands] == ["MAIL", "RSET", "MAIL", "RCPT", "RSET"]
        assert (server.connections, server.messages) == (1, [])
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("script", "phase", "verdict"),
    [
        ({"mail": "530 5.7.0 Authentication required"}, Phase.MAIL, Verdict.CONFIGURATION),
        ({"mail": "550 5.1.8 sender unknown"}, Phase.MAIL, Verdict.PERMANENT),
        ({"rcpt": "450 4.2.0 greylisted"}, Phase.RCPT, Verdict.TRANSIENT),
        ({"mail": "421 4.7.0 go away"}, Phase.MAIL, Verdict.TRANSPORT),
        ({"rcpt": Close()}, Phase.RCPT, Verdict.TRANSPORT),
        ({"mail": "nonsense"}, Phase.MAIL, Verdict.TRANSPORT),
    ],
)
def test_probe_tells_what_is_wrong(script: dict[str, Any], phase: Phase, verdict: Verdict, connect: Connect) -> None:
    """As the reply to a mail would be judged."""
    with SmtpServer(script) as server:
        result = connect(server.relay()).probe("a@example.org", "b@example.net")
        assert (result.phase, result.verdict) == (phase, verdict)


def test_a_probe_is_no_way_to_inject_commands(connect: Connect) -> None:
    """An address with a line break is refused here."""
    with SmtpServer() as server:
        result = connect(server.relay()).probe("a@example.org>\r\nDATA", "b@example.net")
        assert (result.verdict, server.commands) == (Verdict.PERMANENT, [])


def test_a_probe_that_finds_the_connection_closed_says_so(connect: Connect) -> None:
    """RSET unanswered or refused costs the connection, not the answer."""
    with SmtpServer({"rset": turns("250 ok", "500 what")}) as server:
        connection = connect(server.relay())
        assert connection.check().verdict is Verdict.ACCEPTED
        for _ in range(2):
            assert connection.probe("a@example.org").verdict is Verdict.ACCEPTED
        assert server.connections == 2
