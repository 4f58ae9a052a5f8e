"""The signature of Standard Webhooks, by which Svix signs, too: of what we send, and of what Resend sends us. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac

PREFIX = "v1,"
"""Of each signature in the header: the version of the scheme."""


def signature(secret: bytes, id: str, timestamp: str, content: bytes) -> str:
    """In base64, without PREFIX. `timestamp`: as the header has it."""
    signed = f"{id}.{timestamp}.".encode("utf-8", "replace") + content
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
