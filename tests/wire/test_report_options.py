"""What asks a relay for delivery reports (RFC 3461): only where it offers that; the application's own goes before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from outbox.delivery.reply import Verdict
from outbox.smtp.connection import Connection
from outbox.smtp.report_options import of_rcpt
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[..., Connection]
ENVID = "0123abcd" * 5


def commands(server: SmtpServer) -> list[str]:
    return [line for line in server.commands if line.startswith(("MAIL", "RCPT"))]


def test_where_it_is_offered(connect: Connect) -> None:
    """Each recipient has its own ORCPT."""
    with SmtpServer(extensions=("PIPELINING", "DSN")) as server:
        marked = replace(envelope(), envid=ENVID)
        results = connect(server.relay()).deliver_together(marked, ["b@example.net", "c+d@example.net"], CONTENT)
        assert [one and one.verdict for one in results] == [Verdict.ACCEPTED] * 2
        assert commands(server) == [
            f"MAIL FROM:<a@example.org> RET=HDRS ENVID={ENVID}",
            "RCPT TO:<b@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b@example.net",
            "RCPT TO:<c+d@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;c+2Bd@example.net",
        ]


def test_where_it_is_not(connect: Connect) -> None:
    """A relay refuses a parameter that it does not know; and nobody asks without a token."""
    with SmtpServer(extensions=("PIPELINING",)) as server:
        connect(server.relay()).deliver(replace(envelope(), envid=ENVID), CONTENT)
        assert commands(server) == ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>"]
    with SmtpServer(extensions=("DSN",)) as server:
        connect(server.relay()).deliver(envelope(), CONTENT)
        assert commands(server) == ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>"]


def test_the_applications_own_options_stay(connect: Connect) -> None:
    """Flask-Mail's mail_options and rcpt_options."""
    own = envelope(mail_options=("RET=FULL",), rcpt_options=("NOTIFY=NEVER",))
    with SmtpServer(extensions=("DSN",)) as server:
        connect(server.relay()).deliver(replace(own, envid=ENVID), CONTENT)
        assert commands(server) == [
            f"MAIL FROM:<a@example.org> RET=FULL ENVID={ENVID}",
            "RCPT TO:<b@example.net> NOTIFY=NEVER ORCPT=rfc822;b@example.net",
        ]


@pytest.mark.parametrize(
    ("recipient", "orcpt"),
    [
        ("a+b=c@example.org", "rfc822;a+2Bb+3Dc@example.org"),
        ('"a b"@example.org', 'rfc822;"a+20b"@example.org'),
        ("jörg@example.org", "utf-8;j\\x{F6}rg@example.org"),
        ("j+ö=\\@example.org", "utf-8;j\\x{2B}\\x{F6}\\x{3D}\\x{5C}@example.org"),
        ("用户@例え.jp", "utf-8;\\x{7528}\\x{6237}@\\x{4F8B}\\x{3048}.jp"),
    ],
)
def test_addresses(recipient: str, orcpt: str) -> None:
    """xtext for ASCII (RFC 3461 §4), else RFC 6533 §3."""
    assert [*of_rcpt(recipient, ())] == ["NOTIFY=FAILURE,DELAY", f"ORCPT={orcpt}"]


def test_an_address_that_is_too_long() -> None:
    """ORCPT has 500 characters at most: it is left out."""
    assert [*of_rcpt("ö" * 100 + "@example.org", ())] == ["NOTIFY=FAILURE,DELAY"]
