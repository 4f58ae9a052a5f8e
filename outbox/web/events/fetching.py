"""Requests of ours, which go to Amazon SNS alone: verified TLS, bounded in time and size, no redirects.

They go through the proxy that HTTPS_PROXY names, and trust the system's store. They go on in a thread of their own, so
that a provider is answered within a second however slow Amazon SNS is: what it sends again finds what has come by then.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import urllib.error
import urllib.request
from concurrent.futures import Future
from urllib.parse import urlsplit

from outbox.smtp.no_redirects import opener
from outbox.web.events.incoming import UnavailableError

_SECONDS = 3.0  # for each wait of the thread
_WAIT = 0.4  # of who asks: twice at most, for the certificate and for the confirmation
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


class NotYetError(UnavailableError):
    """It has not answered yet."""


class Fetches:
    """One request at a time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: tuple[str, Future[bytes]] | None = None

    def get(self, url: str) -> bytes:
        """What SNS answers at `url`, one that `is_of_sns`; whoever asks for the same waits for the same answer.

        Raises UnavailableError, and NotYetError where the answer is still to come: then ask again later.
        """
        if not is_of_sns(url):
            raise ValueError("not a URL of Amazon SNS")
        mine = self._begun(url)
        try:
            answer = mine[1].result(timeout=_WAIT)
        except TimeoutError:
            raise NotYetError(f"{urlsplit(url).netloc} has not answered yet") from None
        except UnavailableError:
            self._end(mine)
            raise
        self._end(mine)
        return answer

    def _begun(self, url: str) -> tuple[str, Future[bytes]]:
        with self._lock:
            found = self._under_way
            if found is not None and found[0] == url:
                return found
            if found is not None and not found[1].done():
                raise NotYetError("another answer of Amazon SNS is awaited")
            answer = Future[bytes]()
            self._under_way = made = (url, answer)
            threading.Thread(target=_fetch, args=made, name="outbox-sns", daemon=True).start()
            return made

    def _end(self, mine: tuple[str, Future[bytes]]) -> None:
        with self._lock:
            if self._under_way is mine:
                self._under_way = None


def _fetch(url: str, answer: Future[bytes]) -> None:
    try:
        answer.set_result(_get(url))
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        answer.set_exception(error)


def _get(url: str) -> bytes:
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
