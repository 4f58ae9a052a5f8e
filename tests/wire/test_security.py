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

from outbox.delivery.hints import hint_for
from outbox.delivery.reply import About, Phase, Verdict
from outbox.settings.relay import Relay, Security
from outbox.smtp import tls as outbox_tls
from outbox.smtp.connection import Connection
from tests.wire.actions import SILENCE, Close, turns
from tests.wire.certificates import ca_file, plain_issuer
from tests.wire.conftest import CONTENT, envelope, mail_state
from tests.wire.server import Client, SmtpServer

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


WORDS = {
    "expired": ["the certificate is for localhost, 127.0.0.1, ", "expired on 2020-01-01 00:00 UTC"],
    "wrong host": ["not valid for", "the certificate is for mail.elsewhere.example"],
    "unknown issuer": ["the certificate is for localhost"],
}


@TLS
@pytest.mark.parametrize("certificate", WORDS)
def test_what_a_refused_certificate_holds_is_told(certificate: str, tls: str, connect: Connect) -> None:
    """Its names, and what of it expired when; the look at it says nothing beyond STARTTLS."""
    with SmtpServer(tls=tls, certificate=certificate, auth={"u": PASSWORD}) as server:
        result = connect(server.relay(username="u", password=PASSWORD)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase, result.about) == (Verdict.CONFIGURATION, Phase.TLS, About.RELAY)
        for words in WORDS[certificate]:
            assert words in result.reply.text
        assert ".;" not in result.reply.text
        assert {line.split()[0] for line in server.commands} <= {"EHLO", "STARTTLS"}


def test_a_relay_that_hangs_at_the_look(connect: Connect) -> None:
    """The verdict stays, with OpenSSL's own words, in time."""
    with SmtpServer({"handshake": turns(None, SILENCE)}, tls="implicit", certificate="expired") as server:
        result = connect(server.relay(send_timeout=2, command_timeout=60)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.TLS)
        assert "expired" in result.reply.text
        assert result.duration < 15


@TLS
def test_an_authority_that_a_house_made_by_hand(tls: str, connect: Connect) -> None:
    """No key usage and no key identifiers: accepted on every Python, though the newer ones' own default refuses it."""
    strict = ssl.create_default_context(cafile=plain_issuer())
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with SmtpServer(tls=tls, certificate="plain issuer") as server:
        relay = server.relay(ca_file=plain_issuer())
        assert connect(relay).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        result = connect(server.relay(ca_file=plain_issuer(), host="127.0.0.2")).deliver(envelope(), CONTENT)
        assert result.verdict is not Verdict.ACCEPTED
        if tls == "implicit":
            raw = socket.create_connection(("127.0.0.1", server.port))
            with raw, pytest.raises(ssl.SSLCertVerificationError):
                strict.wrap_socket(raw, server_hostname="localhost")


@TLS
@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("old", "TLS 1.1 or older"),
        ("client certificate 1.2", "client certificate"),
        ("client certificate 1.3", "client certificate"),
    ],
)
def test_tls_that_can_not_be(certificate: str, words: str, tls: str, connect: Connect) -> None:
    """A relay that is too old, or that wants a certificate of ours, is a fault of the configuration."""
    with SmtpServer(tls=tls, certificate=certificate) as server:
        result = connect(server.relay()).deliver(envelope(), CONTENT)
        assert (result.verdict, result.about) == (Verdict.CONFIGURATION, About.RELAY)
        assert words in result.reply.text
        assert hint_for(result.phase, result.reply.code, result.reply.text) is not None


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


def test_a_ca_file_that_was_repaired_is_read_again(tmp_path: Path, connect: Connect) -> None:
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
    context = outbox_tls.verifying(Relay(security=Security.TLS))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


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
    "refusal",
    [
        *(f"{code} no" for code in (500, 501, 502, 503, 504, 534)),
        "503 5.5.1 no",
        "535 5.5.4 no",
        "535 5.7.8 mechanism not available",
        "550 AUTH PLAIN not enabled",
    ],
)
def test_log_in_goes_on_with_the_next_mechanism(refusal: str, connect: Connect) -> None:
    """A refusal that is about PLAIN, in whatever words: LOGIN is tried, each mechanism once."""
    with SmtpServer({"auth": turns(refusal)}, tls="starttls", auth={"u": PASSWORD}, mechanisms="PLAIN LOGIN") as server:
        connection = connect(server.relay(username="u", password=PASSWORD))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert [line for line in server.commands if line.startswith("AUTH")] == ["AUTH PLAIN", "AUTH LOGIN"]


def test_each_mechanism_is_tried_once(connect: Connect) -> None:
    """Where none may be used, the last reply is the verdict's."""
    with SmtpServer({"auth": "503 5.5.1 no"}, tls="starttls", auth={"u": PASSWORD}) as server:
        result = connect(server.relay(username="u", password=PASSWORD)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase, result.reply.code) == (Verdict.CONFIGURATION, Phase.AUTH, 503)
        auths = [line for line in server.commands if line.startswith("AUTH")]
        assert auths == ["AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-MD5"]


@pytest.mark.parametrize(
    ("mechanism", "prompts"),
    [
        ("PLAIN", [""]),
        ("XOAUTH2", [""]),
        ("LOGIN", ["Username:", "Password:"]),
        ("LOGIN", ["Password:", "Username:"]),
        ("LOGIN", ["User Name\0", "Password\0"]),
        ("LOGIN", ["PASSWORD", "USERNAME"]),
        ("LOGIN", ["Benutzer", "Kennwort"]),
        ("LOGIN", [None, None]),
    ],
)
def test_challenges(mechanism: str, prompts: list[str | None], connect: Connect) -> None:
    """A 334 is answered by what it asks for: after an initial response with that, else by its prompt."""
    answers: list[str] = []

    def ask(client: Any) -> str:
        for prompt in prompts:
            client._say("334 " + ("?" if prompt is None else base64.b64encode(prompt.encode()).decode()))
            answers.append(base64.b64decode(client._read_line()).decode())
        return "235 2.7.0 welcome"

    with SmtpServer(tls="starttls", auth={"u": PASSWORD}, mechanisms=mechanism) as server:
        connection = connect(server.relay(username="u", password=PASSWORD, auth=mechanism))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Client, "_auth", lambda client: (client._say(ask(client)), setattr(client, "user", "u")))
            assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    if mechanism == "PLAIN":
        assert answers == [f"\0u\0{PASSWORD}"]
    elif mechanism == "XOAUTH2":
        assert answers == [f"user=u\x01auth=Bearer {PASSWORD}\x01\x01"]
    else:
        turned = str(prompts[0]).upper().startswith("PASS")
        assert answers == ([PASSWORD, "u"] if turned else ["u", PASSWORD])


def test_challenges_without_end(connect: Connect) -> None:
    """A relay that asks and asks is given up after a few."""
    asked: list[int] = []

    def ask(client: Any) -> None:
        while True:
            asked.append(1)
            client._ask("Username:")

    with SmtpServer(tls="starttls", auth={"u": PASSWORD}, mechanisms="LOGIN") as server:
        connection = connect(server.relay(username="u", password=PASSWORD))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Client, "_auth", ask)
            result = connection.deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.AUTH)
        assert len(asked) < 6


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
