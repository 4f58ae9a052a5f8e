"""Requests to a token endpoint: verified TLS, bounded in time and size, no redirects (they would carry the secret)."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outbox.smtp.no_redirects import opener
from outbox.smtp.token_answer import TokenError

_TIMEOUT = 15.0  # seconds for each wait
_MOST = 262_144  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def send(
    url: str, body: bytes | None, headers: Mapping[str, str], *, ca_file: Path | None = None, where: str | None = None
) -> Answer:
    """POSTs `body`, or GETs where it is None. `ca_file` is trusted beside the system's store. Raises TokenError."""
    where = where or url
    if not url.startswith(("https://", "http://")):
        raise TokenError(f"{where} is not a web address", refused=True)
    request = urllib.request.Request(url, body, {"User-Agent": "flask-outbox", **headers})  # noqa: S310 - see above
    try:
        with opener(_context(ca_file)).open(request, timeout=_TIMEOUT) as answer:
            return Answer(answer.status, answer.read(_MOST), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(_MOST), dict(error.headers))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        refused = isinstance(reason, ssl.SSLCertVerificationError)
        words = getattr(reason, "verify_message", None) or getattr(reason, "strerror", None) or type(reason).__name__
        verb = "has a certificate that is not accepted" if refused else "can't be reached"
        raise TokenError(f"{where} {verb}: {words}", refused=refused) from None


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as for relays
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
