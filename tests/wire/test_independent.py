"""The same client against a server that is not ours: aiosmtpd, over STARTTLS with a log-in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from outbox.delivery.reply import Verdict
from outbox.settings.relay import Relay, Security
from outbox.smtp.connection import Connection
from tests.wire.certificates import ca_file, server_context
from tests.wire.conftest import CONTENT, envelope

Connect = Callable[[Relay], Connection]


class Keeper:
    """Keeps what it is given; refuses one recipient."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_RCPT(self, server: Any, session: Any, mail: Any, address: str, options: list[str]) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        mail.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Any, mail: Any) -> str:
        self.mails.append((mail.mail_from, mail.rcpt_tos, mail.content))
        return "250 2.0.0 Ok: queued as 4F00BA"


def authenticate(server: Any, session: Any, mail: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"u", b"p")
    return AuthResult(success=right, handled=False)


def free_port() -> int:
    """aiosmtpd cannot say which port it was given for 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_aiosmtpd(mechanism: str, connect: Connect) -> None:
    """What aiosmtpd took is what was sent, a refused recipient in between harms nobody, its id is kept."""
    keeper = Keeper()
    controller = Controller(
        keeper,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=server_context("good"),
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
        enable_SMTPUTF8=True,
    )
    controller.start()
    try:
        relay = Relay(
            "127.0.0.1",
            controller.port,
            Security.STARTTLS,
            username="u",
            password="p",
            auth=mechanism,
            ca_file=ca_file(),
            send_timeout=10,
            dot_timeout=10,
        )
        connection = connect(relay)
        results = [connection.deliver(envelope(to), CONTENT) for to in ("b@example.net", "nobody@x.org", "c@x.org")]
        assert [result.verdict for result in results] == [Verdict.ACCEPTED, Verdict.PERMANENT, Verdict.ACCEPTED]
        assert results[0].relay_id == "4F00BA"
        assert keeper.mails == [
            ("a@example.org", ["b@example.net"], CONTENT),
            ("a@example.org", ["c@x.org"], CONTENT),
        ]
        parsed = message_from_bytes(keeper.mails[0][2], policy=policy.default)
        assert parsed["Subject"] == "hello"
        connection.close()
    finally:
        controller.stop()
