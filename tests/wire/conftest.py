"""What the tests over real sockets share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flask_mail
import pytest

from outbox.message import Envelope
from outbox.relay import Relay
from outbox.transport import Connection

CONTENT = b"Subject: hello\r\nFrom: a@example.org\r\n\r\nfirst line\r\n.a line with a dot\r\n.\r\nlast line\r\n"


@pytest.fixture(name="connect")
def _connect() -> Iterator[Callable[[Relay], Connection]]:
    """Makes connections to a relay, and closes them when the test ends."""
    made: list[Connection] = []

    def connect(relay: Relay) -> Connection:
        made.append(Connection(mail_state(), relay))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def mail_state(**changes: Any) -> flask_mail._Mail:
    """Flask-Mail's own state, as `init_mail` makes it."""
    settings: dict[str, Any] = {
        "server": "127.0.0.1",
        "username": None,
        "password": None,
        "port": 25,
        "use_tls": False,
        "use_ssl": False,
        "default_sender": None,
        "debug": 0,
        "max_emails": None,
        "suppress": False,
        "ascii_attachments": False,
    }
    return flask_mail._Mail(**(settings | changes))


def envelope(recipient: str = "b@example.net", sender: str = "a@example.org", **changes: Any) -> Envelope:
    """An envelope for CONTENT."""
    return Envelope(**({"sender": sender, "recipient": recipient, "size": len(CONTENT)} | changes))
