"""What the tests over real sockets share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flask_mail
import pytest

from outbox.delivery.reply import Result
from outbox.message.values import Envelope
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from tests.wire.server import SmtpServer

CONTENT = b"Subject: hello\r\nFrom: a@example.org\r\n\r\nfirst line\r\n.a line with a dot\r\n.\r\nlast line\r\n"


@pytest.fixture(name="connect")
def _connect() -> Iterator[Callable[..., Connection]]:
    """Makes connections to a relay, and closes them when the test ends."""
    made: list[Connection] = []

    def connect(relay: Relay, **options: Any) -> Connection:
        made.append(Connection(mail_state(), relay, **options))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def once_reached(server: SmtpServer, step: str, seconds: float, attempt: Callable[[float], Result]) -> Result:
    """What `attempt(seconds)` returns, for time limits that matter only from the server's `step` on.

    A busy machine may not come that far within them: then it is tried again with longer ones.
    """
    for longer in (1, 5, 25):
        before = server.steps[step]
        result = attempt(seconds * longer)
        if server.steps[step] > before:
            break
    return result


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
