"""The forms of settings about providers' webhooks. Each holds several, so that one can be replaced without a gap."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from outbox.settings.values import SECRET, Form

SVIX_PREFIX = "whsec_"

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}")
_ARMOUR = re.compile(r"-----(BEGIN|END) PUBLIC KEY-----")
_P256_BYTES = 91  # of a public key on the curve P-256 (RFC 5480), as SendGrid's are
_SEVERAL = "several separated by blanks"


def _each(says: str, check: Callable[[str], str], *, secret: bool = True) -> Form:
    def parse(raw: Any) -> tuple[str, ...]:
        words = list(raw) if isinstance(raw, list | tuple) else [raw]
        return tuple(check(word) for text in words for word in str(SECRET.parse(text)).split())

    return Form(f"{says}; {_SEVERAL}{', secret' if secret else ''}", parse, secret=secret)


def _topic(word: str) -> str:
    if not _TOPIC.fullmatch(word):
        raise ValueError(f"holds {word!r}, not the ARN of a topic such as arn:aws:sns:eu-west-1:123456789012:mail")
    return word


def _credentials(word: str) -> str:
    user, colon, password = word.partition(":")
    if not (user and colon and password):
        raise ValueError("is not of the form user:password")
    return word


def _svix_secret(word: str) -> str:
    encoded = word.removeprefix(SVIX_PREFIX)
    if encoded == word or not _decoded(encoded):
        raise ValueError(f"is not a signing secret, which begins with {SVIX_PREFIX}")
    return word


def _public_key(word: str) -> str:
    if len(_decoded(word)) != _P256_BYTES:
        raise ValueError("is not a verification key of SendGrid, which is base64 and begins with MFkw")
    return word


def _parse_public_keys(raw: Any) -> tuple[str, ...]:
    """Also PEM, whose lines are joined."""
    if isinstance(raw, str) and _ARMOUR.search(raw):
        bodies = _ARMOUR.sub(" | ", raw).split("|")
        raw = [body for body in ("".join(part.split()) for part in bodies) if body]
    found: tuple[str, ...] = _KEYS.parse(raw)
    return found


def _decoded(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return b""


_KEYS = _each("base64", _public_key)

TOPICS = _each("ARNs", _topic, secret=False)
WORDS = _each("text", str)
CREDENTIALS = _each("`user:password`", _credentials)
SVIX_SECRETS = _each("`whsec_…`", _svix_secret)
PUBLIC_KEYS = Form("base64 or PEM", _parse_public_keys, secret=True)
