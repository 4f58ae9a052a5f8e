"""Headers that are added when a message is sent, before the frozen bytes: what one relay wants, and signatures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from outbox.delivery.presets import preset_of
from outbox.delivery.tagging import folded, headers_of
from outbox.message.dkim.signer import Signer
from outbox.message.values import Envelope
from outbox.settings.relay import Relay

Content = bytes | Iterable[bytes]

_TWICE = 512 * 1024
"""Bytes: a longer message is not held in memory to be signed, but read twice."""


def with_headers(
    relay: Relay, envelope: Envelope, content: Content, signer: Signer | None = None
) -> tuple[Envelope, Content]:
    """The message as this relay gets it: the same to the byte on each attempt of a delivery."""
    headers = list(relay.headers)
    if relay.idempotency_header is not None and envelope.message_id:
        headers.append((relay.idempotency_header, envelope.idempotency_key))
    known = preset_of(relay.preset, relay.host)
    if known.echo_header is not None:
        headers += _echo(*known.echo_header, envelope.message_id, content)
    if envelope.tags:
        headers += headers_of(known.name, envelope.tags)
    if signer is not None:
        content = _held(envelope, content)
    elif not headers:
        return envelope, content
    added = "".join(f"{folded(name, value)}\r\n" for name, value in headers).encode("ascii")
    if signer is not None:
        added = signer.fields(_behind(added, content), envelope.created_at) + added
    return replace(envelope, size=envelope.size + len(added) if envelope.size else 0), _behind(added, content)


def _echo(name: str, longest: int, message_id: str, content: Content) -> list[tuple[str, str]]:
    """The Message-ID as the provider is to hand it back, unless the message has a value of its own."""
    head = content.partition(b"\r\n\r\n")[0] if isinstance(content, bytes) else b""
    taken = f"\r\n{name}:".encode().lower() in b"\r\n" + head.lower()
    return [] if taken or not 0 < len(message_id) <= longest else [(name, message_id)]


def _behind(added: bytes, content: Content) -> Content:
    return added + content if isinstance(content, bytes) else chain((added,), content)


def _held(envelope: Envelope, content: Content) -> Content:
    """`content` such that it can be read twice."""
    if isinstance(content, bytes) or not (envelope.size <= _TWICE or iter(content) is content):
        return content
    return b"".join(content)
