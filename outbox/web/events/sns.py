"""Amazon SNS: whether a message is signed by it, for a topic of ours; what can't be is refused before any fetch.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.web.events import fetching, payloads
from outbox.web.events.extra import needed
from outbox.web.events.incoming import Incoming, RefusedError, UnavailableError, check_age

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

log = get_logger("outbox.web")

_LONGEST_AGE = timedelta(minutes=70)  # SNS repeats a message for an hour at most, with the time of the first
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_KEPT = 8  # certificates; there are one or two a region
_PAUSE = 5.0  # seconds without a fetch after one that failed


def verified(incoming: Incoming, topics: tuple[str, ...]) -> dict[str, Any]:
    """The message, signed by SNS for one of `topics`. Raises RefusedError, UnavailableError."""
    body = payloads.parsed(incoming.body)
    message: payloads.Object = body if isinstance(body, dict) else {}
    names = _SIGNED.get(str(message.get("Type")))
    if names is None:
        raise RefusedError(
            "it is not a message of Amazon SNS. Is raw message delivery on? It is not signed: switch it off"
        )
    if message.get("TopicArn") not in topics:
        raise RefusedError("its topic is not one of OUTBOX_SES_TOPICS")
    sent = payloads.moment(message.get("Timestamp"))
    if sent is None:
        raise RefusedError("it has no time stamp")
    check_age(sent, incoming.now, _LONGEST_AGE)
    url = str(message.get("SigningCertURL") or message.get("SigningCertUrl"))
    if not fetching.is_certificate_of_sns(url):
        raise RefusedError("the URL of its certificate is not one of Amazon SNS")
    _check_signature(message, names, _KEYS.get(url, incoming.now))
    return message


def confirm(message: dict[str, Any]) -> None:
    """Confirm the subscription that a verified message asks about. Raises RefusedError, UnavailableError."""
    url = str(message.get("SubscribeURL"))
    if not fetching.is_of_sns(url):
        raise RefusedError("the URL to confirm the subscription is not one of Amazon SNS")
    _FETCHES.get(url)
    log.info("status=webhook-subscribed provider=ses topic=%s", message["TopicArn"])


def _check_signature(message: dict[str, Any], names: tuple[str, ...], key: RSAPublicKey) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    versions: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS' own
    algorithm = versions.get(str(message.get("SignatureVersion")))
    if algorithm is None:
        raise RefusedError("its SignatureVersion is neither 1 nor 2")
    signed = "".join(f"{name}\n{message[name]}\n" for name in names if message.get(name) is not None)
    try:
        signature = base64.b64decode(str(message.get("Signature")), validate=True)
        key.verify(signature, signed.encode("utf-8", "replace"), padding.PKCS1v15(), algorithm)
    except (InvalidSignature, binascii.Error, ValueError):
        raise RefusedError("its signature is wrong") from None


class Keys:
    """The public keys of SNS, by the URLs of their certificates. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[RSAPublicKey, datetime]] = OrderedDict()
        self._lock = threading.Lock()
        self._not_before = 0.0

    def get(self, url: str, now: datetime) -> RSAPublicKey:
        """The key of the certificate at `url`, which must be one of SNS. Raises RefusedError, UnavailableError."""
        known = self._known.get(url)
        if known is not None and now < known[1]:
            return known[0]
        needed("OUTBOX_SES_TOPICS")
        if clock.monotonic() < self._not_before:  # else who invents names makes us ask for each
            raise UnavailableError("a certificate of Amazon SNS could not be fetched a moment ago")
        try:
            key, ends = _read(_FETCHES.get(url), now)
        except fetching.NotYetError:
            raise
        except (RefusedError, UnavailableError):
            self._not_before = clock.monotonic() + _PAUSE
            raise
        with self._lock:
            self._known[url] = (key, ends)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return key


_FETCHES = fetching.Fetches()
_KEYS = Keys()


def _read(pem: bytes, now: datetime) -> tuple[RSAPublicKey, datetime]:
    """The key of a certificate, and until when it is valid."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except ValueError:
        raise UnavailableError("what Amazon SNS answered is not a certificate") from None
    ends = certificate.not_valid_after_utc.astimezone(UTC)
    if not isinstance(key, RSAPublicKey) or not certificate.not_valid_before_utc <= now < ends:
        raise RefusedError("the certificate it is signed with is not valid now")
    return key, ends
