"""A worker's connection to one transport, by whatever protocol."""

from __future__ import annotations

from typing import Any

from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from outbox.smtp.http.ses import Ses
from outbox.smtp.learned import Learned
from outbox.smtp.own_transport import OwnTransport
from outbox.smtp.repeating import RepeatingConnection

AnyConnection = Connection | OwnTransport


def connection_to(mail: Any, relay: Relay, learned: Learned | None = None) -> AnyConnection:
    """Opens nothing yet. `mail`: Flask-Mail's state; `learned`: what it shares with others."""
    if relay.speaks_smtp:
        kind = Connection if relay.idempotency_header is None else RepeatingConnection
        return kind(mail, relay, learned=learned)
    if (make := relay.make) is not None:
        return OwnTransport(relay, lambda: make(relay.endpoint))
    return OwnTransport(relay, lambda: Ses(relay))
