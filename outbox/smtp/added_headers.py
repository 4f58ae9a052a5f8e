"""Headers that one relay wants on each message. They are added when it is sent, before the frozen bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from outbox.message.values import Envelope
from outbox.settings.relay import Relay

Content = bytes | Iterable[bytes]


def with_headers(relay: Relay, envelope: Envelope, content: Content) -> tuple[Envelope, Content]:
    """The message as this relay gets it: the same to the byte on each attempt of a delivery."""
    headers = list(relay.headers)
    if relay.idempotency_header is not None and envelope.message_id:
        headers.append((relay.idempotency_header, _key(envelope)))
    if not headers:
        return envelope, content
    added = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii")
    whole = added + content if isinstance(content, bytes) else chain((added,), content)
    return replace(envelope, size=envelope.size + len(added) if envelope.size else 0), whole


def _key(envelope: Envelope) -> str:
    """One for each delivery: a message goes to each of its recipients by itself, and none is a duplicate."""
    return hashlib.sha256(f"{envelope.message_id}\0{envelope.recipient}".encode()).hexdigest()
