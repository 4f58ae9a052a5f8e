"""Requests of ours, which go to Amazon SNS alone: verified TLS, bounded in time and size, no redirects.

They go through the proxy that HTTPS_PROXY names, and trust the system's store.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from outbox.smtp.no_redirects import opener
from outbox.web.events.incoming import UnavailableError

_SECONDS = 3.0  # for each wait; a provider waits 15 s for our answer
_MOST = 65_536  # bytes of an answer

_HOST = re.compile(r"sns\.[a-z]{2,4}(-[a-z]+)+-\d{1,2}\.amazonaws\.com(\.cn)?")
"""By region. A looser one lets sns.s3.amazonaws.com in, where whoever has the bucket "sns" decides what is answered."""

_CERTIFICATE = re.compile(r"/[A-Za-z0-9._-]+\.pem")


def is_of_sns(url: str) -> bool:
    """Whether `url` leads to Amazon SNS itself: https, its host, nothing hidden in the URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and parts.port is None and _HOST.fullmatch(parts.netloc) is not None
    except ValueError:
        return False


def is_certificate_of_sns(url: str) -> bool:
    """Whether `url` can be that of a certificate that SNS signs with."""
    return is_of_sns(url) and _CERTIFICATE.fullmatch(url.partition(urlsplit(url).netloc)[2]) is not None


def get(url: str) -> bytes:
    """What SNS answers there. Raises UnavailableError. `url`: one that `is_of_sns`."""
    if not is_of_sns(url):
        raise ValueError("not a URL of Amazon SNS")
    request = urllib.request.Request(url, headers={"User-Agent": "flask-outbox"})  # noqa: S310 - https, see above
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    host = urlsplit(url).netloc
    try:
        with opener(context).open(request, timeout=_SECONDS) as answer:
            return bytes(answer.read(_MOST))
    except urllib.error.HTTPError as error:
        with error:
            raise UnavailableError(f"{host} answers {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(f"{host} can't be reached: {reason}") from None
