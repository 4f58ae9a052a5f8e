"""One call of a webhook: a signed POST as Standard Webhooks describes it, over verified TLS, redirects not followed.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The body says what happened
to which message, and nothing of what the message says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from outbox.core.version import VERSION
from outbox.delivery.happened import MailEvent
from outbox.message.standard_webhooks import PREFIX, signature
from outbox.settings.outgoing_webhooks import Webhook
from outbox.settings.relay import Relay
from outbox.smtp.broken import Broken
from outbox.smtp.http.client import Client

GONE = 410
"""The receiver wants no more calls."""

_LONGEST_WAIT = 86_400.0  # of what a receiver may ask for


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call."""

    error: str | None  # None: the receiver has it
    is_gone: bool = False
    wait: float = 0.0  # seconds that the receiver asks for


def call(
    webhook: Webhook, event: MailEvent, seconds: float, *, monotonic: Callable[[], float], now: datetime
) -> Called:
    """Tell of `event` within `seconds`."""
    parts = urlsplit(webhook.url)
    relay = Relay(
        host=parts.hostname or "",
        port=parts.port or (443 if parts.scheme == "https" else 80),
        protocol=parts.scheme,
        ca_file=webhook.ca_file,
        connect_timeout=seconds,
        command_timeout=seconds,
    )
    client, deadline = Client(relay, monotonic), monotonic() + seconds
    content = body(event)
    try:
        client.open(deadline)
        answer = client.request(
            "POST", _target(parts), _headers(webhook, event, content, parts, now), content, deadline
        )
    except Broken as broken:
        return Called(f"{client.phase.value}: {broken}")
    finally:
        client.close()
    if 200 <= answer.status < 300:
        return Called(None)
    asked = answer.headers.get("retry-after", "")
    wait = min(float(asked), _LONGEST_WAIT) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0.0
    words = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    return Called(f"the receiver answered {answer.status}{words}", answer.status == GONE, wait)


def body(event: MailEvent) -> bytes:
    """What is posted: JSON in UTF-8."""
    reply = event.reply
    data: dict[str, Any] = {
        "message_id": event.message_id,
        "delivery_id": event.delivery_id,
        "recipient": event.recipient,
        "key": event.key,
        "kind": event.kind,
        "category": event.category,
        "metadata": event.metadata,
        "code": reply.code if reply else None,
        "enhanced": reply.enhanced if reply else None,
        "reply": reply.text if reply else None,
        "reason": event.reason,
        "source": event.source,
        "scope": event.scope,
    }
    stamped = event.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event.type, "timestamp": stamped, "data": data}, separators=(",", ":")).encode()


def id_of(event: MailEvent) -> str:
    """The same at each call about `event`, and never that of another."""
    about = event.message_id or f"{event.recipient} {event.at}"
    return "msg_" + hashlib.sha256(f"{about}\n{event.id}".encode()).hexdigest()[:32]


def _headers(webhook: Webhook, event: MailEvent, content: bytes, parts: SplitResult, now: datetime) -> dict[str, str]:
    id, timestamp = id_of(event), str(int(now.timestamp()))
    return {
        "Host": parts.netloc,
        "User-Agent": f"outbox/{VERSION}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(PREFIX + signature(secret, id, timestamp, content) for secret in webhook.secrets),
    }


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
