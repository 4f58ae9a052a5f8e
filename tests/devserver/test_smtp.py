"""A local relay, as a process."""

from __future__ import annotations

import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver import certificates
from devserver.faults import Fault, Faults
from devserver.mailbox import Mailbox
from tests.servers.process import free_port, polled

CONTENT = b"From: a@example.com\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\n.dot\r\nlast\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificates.ensure(tmp_path / "ca.pem", tmp_path / "smtp.pem")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "devserver.smtp", "--port", str(port)),
            *("--certificate", folder / "smtp.pem", "--mailbox", folder / "mailbox"),
            *("--name", "main", "--faults", folder / "faults"),
        ]
    ) as process:
        try:
            yield process, port
        finally:
            process.kill()


@pytest.fixture
def client(server: tuple[subprocess.Popen[bytes], int]) -> Iterator[smtplib.SMTP]:
    with polled("the SMTP server listens", 20) as wait_a_little:
        while True:
            try:
                connected = smtplib.SMTP("127.0.0.1", server[1], timeout=10)
                break
            except ConnectionRefusedError:
                wait_a_little()
    with connected:
        yield connected


def verified(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.pem")


def test_takes_mail_over_verified_tls(client: smtplib.SMTP, folder: Path) -> None:
    """What was sent lies in the mailbox to the byte, the envelope on top, Bcc among its recipients."""
    client.starttls(context=verified(folder))
    client.sendmail("bounce@example.com", ["to@example.com", "bcc@example.com"], CONTENT)
    (arrived,) = Mailbox(folder / "mailbox").newest(10)
    assert arrived.raw.endswith(b"Delivered-To: bcc@example.com\r\n" + CONTENT)
    assert arrived.raw.startswith(b"Return-Path: <bounce@example.com>\r\n")
    assert arrived.relay == "main"
    assert arrived.recipients == ["to@example.com", "bcc@example.com"]
    assert arrived.subject == "grüße"


def test_takes_nothing_in_plain_text(client: smtplib.SMTP) -> None:
    """Before STARTTLS every mail is refused."""
    client.ehlo()
    code, _ = client.mail("a@example.com")
    assert code == 530


def test_is_verified_by_its_own_authority_only(client: smtplib.SMTP) -> None:
    """The system's store does not know it: a worker without OUTBOX_TLS_CA_FILE would refuse it."""
    with pytest.raises(ssl.SSLCertVerificationError):
        client.starttls(context=ssl.create_default_context())


def test_ends_when_asked(server: tuple[subprocess.Popen[bytes], int], client: smtplib.SMTP) -> None:
    """SIGTERM ends it with exit code 0, open connections or not."""
    server[0].send_signal(signal.SIGTERM)
    assert server[0].wait(20) == 0


def test_refuses_for_a_quota(client: smtplib.SMTP, folder: Path) -> None:
    """In the words of a provider; without the fault the same message is taken."""
    client.starttls(context=verified(folder))
    faults = Faults(folder / "faults")
    faults.set("main", Fault.QUOTA)
    with pytest.raises(smtplib.SMTPRecipientsRefused, match=r"550.*quota exceeded"):
        client.sendmail("a@example.com", "b@example.com", CONTENT)
    faults.set("main", Fault.NONE)
    client.sendmail("a@example.com", "b@example.com", CONTENT)


def test_greylists_each_pair(client: smtplib.SMTP, folder: Path) -> None:
    """It says when to come again, each time for less; another sender waits for his own time."""
    client.starttls(context=verified(folder))
    Faults(folder / "faults").set("main", Fault.GREYLIST)
    for sender in ("a@example.com", "c@example.com"):
        with pytest.raises(smtplib.SMTPRecipientsRefused, match=r"451.*try again in (20|1\d) seconds"):
            client.sendmail(sender, "b@example.com", CONTENT)


def test_cuts_after_the_dot(client: smtplib.SMTP, folder: Path) -> None:
    """The message is in the mailbox, and nobody has said so."""
    client.starttls(context=verified(folder))
    Faults(folder / "faults").set("main", Fault.CUT)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.sendmail("a@example.com", "b@example.com", CONTENT)
    assert len(list(Mailbox(folder / "mailbox").newest(10))) == 1


def test_is_down(server: tuple[subprocess.Popen[bytes], int], client: smtplib.SMTP, folder: Path) -> None:
    """Open connections are cut and new ones refused, until it works again."""
    client.ehlo()
    faults = Faults(folder / "faults")
    faults.set("main", Fault.DOWN)
    with polled("the connection is cut", 20) as wait_a_little:
        while is_open(client):
            wait_a_little()
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", server[1], timeout=10)
    faults.set("main", Fault.NONE)
    with polled("it takes connections again", 20) as wait_a_little:
        while True:
            try:
                smtplib.SMTP("127.0.0.1", server[1], timeout=10).close()
                break
            except ConnectionRefusedError:
                wait_a_little()


def is_open(client: smtplib.SMTP) -> bool:
    try:
        return client.noop()[0] == 250
    except smtplib.SMTPServerDisconnected:
        return False


def test_is_slow(client: smtplib.SMTP, folder: Path) -> None:
    """A reply takes longer than a program that waits for a second."""
    client.starttls(context=verified(folder))
    client.ehlo()
    Faults(folder / "faults").set("main", Fault.SLOW)
    assert client.sock is not None
    client.sock.settimeout(1)
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        client.mail("a@example.com")
