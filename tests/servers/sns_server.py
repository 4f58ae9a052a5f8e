"""Amazon SNS as far as a webhook meets it: the host of its certificates, behind a proxy, and messages that it signs.

    with SnsServer() as sns:
        sns.install(monkeypatch)        # HTTPS_PROXY and the trusted authority, for this process
        sns.message(notification)       # a signed request body
        sns.requests                    # what was asked for, by any host: "CONNECT sns.….com:443", "GET /….pem"

Whatever this process would ask of any host over HTTP goes to the proxy and is counted there.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import socketserver
import ssl
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.wire import certificates

HOST = "sns.us-east-1.amazonaws.com"
TOPIC = "arn:aws:sns:us-east-1:123456789012:mail"
CERTIFICATE_URL = f"https://{HOST}/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@functools.cache
def own_key() -> rsa.RSAPrivateKey:
    """The one of SNS; made once, since it takes a while."""
    return key()


def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(of: rsa.RSAPrivateKey, *, ends: datetime | None = None) -> bytes:
    """A certificate as SNS has one, PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begins, ends = datetime(2020, 1, 1, tzinfo=UTC), ends or datetime(2100, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, of.public_key(), 1, begins, ends).sign(of, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


class SnsServer:
    """Listens on a free port of this machine, in `with`."""

    def __init__(self) -> None:
        self.key = own_key()
        self.answers: dict[str, bytes | int] = {CERTIFICATE_URL.removeprefix(f"https://{HOST}"): certificate(self.key)}
        self.requests: list[str] = []
        self.answering = threading.Event()  # cleared: it takes requests and answers none
        self.answering.set()
        issued = certificates.authority().issue_cert(HOST)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.context)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.sns = self

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def environ(self) -> dict[str, str]:
        """For a process that is to reach it."""
        return {"HTTPS_PROXY": self.proxy, "HTTP_PROXY": self.proxy, "SSL_CERT_FILE": str(certificates.ca_file())}

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For this process."""
        for name in ("https_proxy", "http_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    def message(
        self, content: Any, *, version: str = "2", key: rsa.RSAPrivateKey | None = None, **fields: Any
    ) -> bytes:
        """A request's body, signed by the published scheme. `fields`: in place of the usual ones."""
        text = content if isinstance(content, str) else json.dumps(content)
        message: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Subject": "Amazon SES Email Event Notification",
            "Message": text,
            "Timestamp": stamp(datetime.now(UTC)),
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE_URL,
            "UnsubscribeURL": f"https://{HOST}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:c9135db0",
            **fields,
        }
        message = {name: value for name, value in message.items() if value is not None}
        names = NOTIFICATION if message["Type"] == "Notification" else CONFIRMATION
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
        signature = (key or self.key).sign(signed, padding.PKCS1v15(), algorithm)
        return json.dumps({**message, "Signature": base64.b64encode(signature).decode()}).encode()

    def confirmation(self, **fields: Any) -> bytes:
        """What SNS sends when somebody subscribes the URL."""
        asked = {
            "Type": "SubscriptionConfirmation",
            "Token": "2336412f37",
            "Subject": None,
            "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37",
        }
        return self.message("You have chosen to subscribe to the topic.", **{**asked, **fields})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def stamp(at: datetime) -> str:
    """A time as SNS writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def ago(**time: float) -> str:
    return stamp(datetime.now(UTC) - timedelta(**time))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    sns: SnsServer


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._handle()

    def _handle(self) -> None:
        sns = self.server.sns
        head = self._head(self.rfile)
        sns.requests.append(head)
        if not head.startswith("CONNECT "):
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with sns.context.wrap_socket(self.request, server_side=True) as secure, secure.makefile("rwb") as stream:
            head = self._head(stream)
            sns.requests.append(head)
            sns.answering.wait(60)
            path = head.split(" ")[1]
            answer = sns.answers.get(path, 404)
            status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
            place = f"Location: https://{HOST}/elsewhere\r\n" if status == 302 else ""
            stream.write(f"HTTP/1.1 {status} -\r\n{place}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            stream.flush()

    @staticmethod
    def _head(stream: Any) -> str:
        """The request line without the version; the rest of the head is read."""
        line = stream.readline(65_536).decode()
        while stream.readline(65_536) not in {b"\r\n", b""}:
            pass
        return line.rpartition(" ")[0]
