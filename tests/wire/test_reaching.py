"""Ways to reach a relay that not everybody needs: names, fingerprints, certificates, addresses, LMTP, Unix sockets."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outbox.delivery.hints import hint_for
from outbox.delivery.reply import Phase, Verdict
from outbox.smtp.connection import Connection
from tests.wire import certificates
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[..., Connection]
TLS = pytest.mark.parametrize("tls", ["starttls", "implicit"])


def fingerprint_of(server: SmtpServer) -> str:
    """The SHA-256 of the certificate that a server with TLS from the first byte has."""
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@TLS
def test_another_name_to_verify(tls: str, connect: Connect) -> None:
    """The certificate must have that name, and the host's does not count."""
    with SmtpServer(tls=tls, certificate="wrong host") as server:
        good = connect(server.relay(tls_name="mail.elsewhere.example"))
        assert good.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        bad = connect(server.relay(tls_name="mail.other.example")).deliver(envelope(), CONTENT)
        assert (bad.verdict, bad.phase) == (Verdict.CONFIGURATION, Phase.TLS)


@pytest.mark.parametrize("certificate", ["good", "expired", "wrong host", "unknown issuer"])
def test_a_fingerprint(certificate: str, connect: Connect) -> None:
    """It stands in for name, dates and issuer; one of several is enough."""
    with SmtpServer(tls="implicit", certificate=certificate) as server:
        pins = ("0" * 64, fingerprint_of(server))
        connection = connect(server.relay(fingerprints=pins, ca_file=None))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


@TLS
def test_another_fingerprint(tls: str, connect: Connect) -> None:
    """However good the certificate: nothing is said to a relay with another one, and the words have its own."""
    with SmtpServer(tls=tls, auth={"u": "p"}) as server:
        result = connect(server.relay(fingerprints=("0" * 64,), username="u", password="p")).deliver(
            envelope(), CONTENT
        )
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.TLS)
        assert "its SHA-256 fingerprint is " in result.reply.text
        assert "OUTBOX_TLS_FINGERPRINTS" in (hint_for(result.phase, None, result.reply.text) or "")
        assert not [line for line in server.commands if line.startswith(("AUTH", "MAIL"))]


@TLS
@pytest.mark.parametrize("kind", ["client certificate 1.2", "client certificate 1.3"])
def test_a_certificate_of_our_own(kind: str, tls: str, connect: Connect) -> None:
    """For a relay that asks for one."""
    certificate, key = certificates.client_files()
    with SmtpServer(tls=tls, certificate=kind) as server:
        connection = connect(server.relay(tls_certificate_file=certificate, tls_key_file=key))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"tls_certificate_file": Path("/no/such.pem")},
            "a file for TLS cannot be used (",
        ),
        ({"tls_certificate_file": "client", "tls_key_file": "other"}, "a file for TLS cannot be used ("),
        ({"tls_ciphers": "NONSENSE"}, "no cipher of OUTBOX_TLS_CIPHERS (NONSENSE)"),
    ],
)
def test_what_tls_can_not_be_set_up_with(changes: dict[str, Any], words: str, connect: Connect, tmp_path: Path) -> None:
    """A fault of the configuration, with a remedy; nobody is asked for a password at the terminal."""
    certificate, _ = certificates.client_files()
    if changes.get("tls_key_file") == "other":
        (tmp_path / "key.pem").write_text("nonsense")
        changes = {"tls_certificate_file": certificate, "tls_key_file": tmp_path / "key.pem"}
    with SmtpServer(tls="starttls") as server:
        result = connect(server.relay(**changes)).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.TLS)
        assert words in result.reply.text
        assert hint_for(result.phase, None, result.reply.text) is not None


def test_versions_and_ciphers(connect: Connect) -> None:
    """The oldest version that is allowed, and the ciphers of TLS 1.2."""
    certificate, key = certificates.client_files()
    own = {"tls_certificate_file": certificate, "tls_key_file": key}
    with SmtpServer(tls="starttls", certificate="client certificate 1.2") as server:  # which speaks nothing newer
        connection = connect(server.relay(**own, tls_ciphers="ECDHE+AESGCM"))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert connection.host is not None
        assert "GCM" in connection.host.wire.sock.cipher()[0]  # type: ignore[union-attr]
        result = connect(server.relay(**own, tls_min_version="1.3")).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.TLS)
        assert "no TLS 1.3" in result.reply.text
    with SmtpServer(tls="starttls") as server:
        connection = connect(server.relay(tls_min_version="1.3"))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert connection.tls_version == "TLSv1.3"


def test_the_address_to_connect_from(connect: Connect) -> None:
    """The relay sees it; one that this machine does not have is told."""
    seen: list[str] = []
    with SmtpServer({"greeting": lambda client: seen.append(client.sock.getpeername()[0])}) as server:
        connection = connect(server.relay(source_address="127.0.0.3"))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert seen == ["127.0.0.3"]
        result = connect(server.relay(source_address="192.0.2.1")).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.CONNECT)
        assert "assign requested address" in result.reply.text


def test_keywords_to_leave_alone(connect: Connect) -> None:
    """As if the relay had not offered them."""
    with SmtpServer() as server:
        connection = connect(server.relay(ehlo_ignored=("size", "pipelining")))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert "MAIL FROM:<a@example.org>" in server.commands
        assert not connection.extensions.keys() & {"size", "pipelining"}
        assert connection.host is not None
        assert not connection.host.pipelined


def test_lmtp(connect: Connect) -> None:
    """LHLO in place of EHLO (RFC 2033); one recipient a transaction has one reply."""
    with SmtpServer() as server:
        connection = connect(server.relay(protocol="lmtp"))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert connection.deliver(envelope("c@example.net"), CONTENT).verdict is Verdict.ACCEPTED
        assert [line.partition(" ")[0] for line in server.commands[:2]] == ["LHLO", "MAIL"]
        assert len(server.messages) == 2


def test_a_unix_socket(connect: Connect, tmp_path: Path) -> None:
    """In place of host and port; plain text never leaves the machine there."""
    path = tmp_path / "lmtp"
    with SmtpServer(host=str(path)) as server:
        relay = server.relay(host="localhost", socket=path, protocol="lmtp")
        connection = connect(relay)
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert relay.name == str(path)
        assert server.ehlo_names == ["[127.0.0.1]"]
    result = connect(relay).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.CONNECT)
    assert str(path) in result.reply.text
