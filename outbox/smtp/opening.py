"""A worker's connection to one transport, by whatever protocol."""

from __future__ import annotations

from typing import Any

from outbox.message.dkim.signer import Signer
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from outbox.smtp.http.ses import Ses
from outbox.smtp.learned import Learned
from outbox.smtp.own_transport import OwnTransport
from outbox.smtp.repeating import RepeatingConnection

AnyConnection = Connection | OwnTransport


def connection_to(
    mail: Any, relay: Relay, learned: Learned | None = None, signer: Signer | None = None
) -> AnyConnection:
    """Opens nothing yet. `mail`: Flask-Mail's state; `learned`: what it shares with others; `signer`: by DKIM."""
    if relay.speaks_smtp:
        kind = Connection if relay.idempotency_header is None else RepeatingConnection
        return kind(mail, relay, learned=learned, signer=signer)
    if (make := relay.make) is not None:
        return OwnTransport(relay, lambda: make(relay.endpoint), signer=signer)
    return OwnTransport(relay, lambda: Ses(relay), signer=signer)
