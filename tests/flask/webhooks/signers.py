"""Requests of each provider, signed by the scheme that it publishes."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MAILGUN_KEY = "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"
SVIX_SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of it!").decode()
USER, PASSWORD = "hooks", "correct-horse"


@dataclass(frozen=True)
class Request:
    """A request as it arrives."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def sendgrid_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> str:
    """As SendGrid shows it."""
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def _json(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def sendgrid(content: Any, *, at: float | None = None) -> Request:
    body, sent = _json(content), str(int(time.time() if at is None else at))
    signature = sendgrid_key().sign(sent.encode() + body, ec.ECDSA(hashes.SHA256()))
    return Request(
        body,
        {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": sent,
        },
    )


def mailgun(content: Any, *, at: float | None = None, token: str | None = None) -> Request:
    """`content`: what is in "event-data"."""
    sent = str(int(time.time() if at is None else at))
    token = token or hashlib.sha256(_json(content)).hexdigest()[:50]
    signature = hmac.new(MAILGUN_KEY.encode(), f"{sent}{token}".encode(), "sha256").hexdigest()
    signed = {"timestamp": sent, "token": token, "signature": signature}
    return Request(_json({"signature": signed, "event-data": content}))


def resend(content: Any, *, at: float | None = None, id_: str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W") -> Request:
    body, sent = _json(content), str(int(time.time() if at is None else at))
    key = base64.b64decode(SVIX_SECRET.removeprefix("whsec_"))
    mac = hmac.new(key, f"{id_}.{sent}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(b'an older key').decode()} v1,{base64.b64encode(mac).decode()}"
    return Request(body, {"svix-id": id_, "svix-timestamp": sent, "svix-signature": signature})


def basic(content: Any, *, user: str = USER, password: str = PASSWORD) -> Request:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Request(_json(content), {"Authorization": f"Basic {pair}"})


SIGN: dict[str, Callable[[Any], Request]] = {
    "sendgrid": sendgrid,
    "mailgun": mailgun,
    "postmark": basic,
    "mailjet": basic,
    "brevo": basic,
    "resend": resend,
}


def settings() -> dict[str, str]:
    """With which all of them are open."""
    return {
        "OUTBOX_SENDGRID_PUBLIC_KEY": public(sendgrid_key()),
        "OUTBOX_MAILGUN_SIGNING_KEY": MAILGUN_KEY,
        "OUTBOX_POSTMARK_CREDENTIALS": f"{USER}:{PASSWORD}",
        "OUTBOX_MAILJET_CREDENTIALS": f"{USER}:{PASSWORD}",
        "OUTBOX_BREVO_CREDENTIALS": f"{USER}:{PASSWORD}",
        "OUTBOX_RESEND_SIGNING_SECRET": SVIX_SECRET,
    }
