"""From an open connection to one with TLS, as the settings of a transport want it: for SMTP and HTTP alike."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from outbox.delivery.verdicts import Failure
from outbox.settings.relay import Relay
from outbox.smtp import tls
from outbox.smtp.broken import Broken
from outbox.smtp.sockets import Wire


def secure(wire: Wire, relay: Relay, context: Callable[[], ssl.SSLContext], *, verified: bool = True) -> None:
    """Negotiates TLS. Not `verified`: whatever the certificate is, since nothing is to be said. Raises Broken."""
    try:
        made = context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Broken(Failure.REFUSED_HERE, tls.unusable(relay, error)) from None
    wire.start_tls(made, relay.tls_name or relay.host)
    if not (verified and relay.fingerprints):
        return
    if (fingerprint := tls.fingerprint(wire.sock)) not in relay.fingerprints:
        words = f"its SHA-256 fingerprint is {fingerprint}, which OUTBOX_TLS_FINGERPRINTS does not have"
        raise Broken(Failure.CERTIFICATE, f"the certificate of {relay.name} is not accepted: {words}")
