"""Headers that one relay wants on each message. They are added when it is sent, before the frozen bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from outbox.delivery.presets import preset_of
from outbox.delivery.tagging import folded, headers_of
from outbox.message.values import Envelope
from outbox.settings.relay import Relay

Content = bytes | Iterable[bytes]


def with_headers(relay: Relay, envelope: Envelope, content: Content) -> tuple[Envelope, Content]:
    """The message as this relay gets it: the same to the byte on each attempt of a delivery."""
    headers = list(relay.headers)
    if relay.idempotency_header is not None and envelope.message_id:
        headers.append((relay.idempotency_header, envelope.idempotency_key))
    if envelope.tags:
        headers += headers_of(preset_of(relay.preset, relay.host).name, envelope.tags)
    if not headers:
        return envelope, content
    added = "".join(f"{folded(name, value)}\r\n" for name, value in headers).encode("ascii")
    whole = added + content if isinstance(content, bytes) else chain((added,), content)
    return replace(envelope, size=envelope.size + len(added) if envelope.size else 0), whole
