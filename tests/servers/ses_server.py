"""A service over real HTTPS that speaks as much of Amazon SES's API (v2) as sending needs, and misbehaves on command.

with SesServer() as ses:
    ses.url                     # for OUTBOX_TRANSPORT_SES_URL; its certificate is by tests.wire.certificates
    ses.script = [503, CUT]     # what comes next, one for each message; then all is well
    ses.taken                   # what was accepted
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from tests.wire import certificates

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalr/XUtnFEMI+K7MDENG"
REGION = "eu-west-1"


@dataclass(frozen=True)
class Says:
    """One answer in place of success."""

    status: int
    error: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cuts:
    """The connection ends: "head" before the body was read, "body" after it, "answer" in the middle of the answer."""

    when: str
    takes: bool = False  # the message was taken all the same


HANG = Cuts("never")
"""The message is taken, and nothing is answered."""


class Taken(NamedTuple):
    """One message that the service accepted."""

    to: tuple[str, ...]
    content: bytes
    feedback: str | None
    connection: int  # by its number
    request: dict[str, Any]


class SesServer:
    """Listens on a free port of this machine from `start` (or `with`) to `stop`."""

    def __init__(self, *, certificate: str = "good") -> None:
        self.certificate = certificate
        self.script: list[Says | Cuts] = []
        self.every: Says | Cuts | None = None  # for each message, once the script is through
        self.account: dict[str, Any] | Says = {
            "SendingEnabled": True,
            "ProductionAccessEnabled": True,
            "SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 12.0},
        }
        self.taken: list[Taken] = []
        self.requests = 0  # whose bodies came whole
        self.connections = 0
        self.unsigned = 0  # requests whose signature is not right
        self.resume = threading.Event()
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def url(self) -> str:
        """With the key that it knows."""
        return f"ses+https://{KEY_ID}:{quote(SECRET, safe='')}@localhost:{self.port}?region={REGION}"

    def start(self) -> Self:
        server = _Server(("127.0.0.1", self._port), _Handler)
        server.ses = self
        self._server, self._port = server, server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuses connections from here on, and ends those that are open."""
        self.resume.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self.drop()

    def drop(self) -> None:
        """Ends every connection that is open, as a service does with idle ones."""
        with self.lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_signed(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a request is signed with the key, by AWS's description of version 4."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/ses/aws4_request, SignedHeaders=([^,]+), "
            r"Signature=([0-9a-f]{64})",
            headers.get("Authorization", ""),
        )
        if found is None or found[1] != KEY_ID or found[3] != REGION:
            return False
        names = found[4].split(";")
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        request = f"{method}\n{path}\n\n{lines}\n{found[4]}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{found[2]}/{REGION}/ses/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = b"AWS4" + SECRET.encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest() == found[5]

    def next(self) -> Says | Cuts | None:
        """What the next message meets."""
        with self.lock:
            return self.script.pop(0) if self.script else self.every


class _Server(ThreadingHTTPServer):
    ses: SesServer
    daemon_threads = True
    request_queue_size = 64

    def finish_request(self, request: Any, client_address: Any) -> None:
        context: ssl.SSLContext = certificates.server_context(self.ses.certificate)
        with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as secure:
            with self.ses.lock:
                self.ses.connections += 1
                self.ses._open.add(secure)
            try:
                super().finish_request(secure, client_address)
            finally:
                with self.ses.lock:
                    self.ses._open.discard(secure)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.number = self.server.ses.connections

    def do_GET(self) -> None:
        account = self.server.ses.account
        if not self._is_signed(b""):
            self._refuse_key()
        elif isinstance(account, Says):
            self._error(account)
        else:
            self._say(200, account, {})

    def do_POST(self) -> None:
        ses = self.server.ses
        meets = ses.next()
        if isinstance(meets, Cuts) and meets.when == "head":
            self._end()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with ses.lock:
            ses.requests += 1
        if not self._is_signed(body):
            self._refuse_key()
            return
        if isinstance(meets, Says):
            self._error(meets)
            return
        if meets is None or meets.takes or meets is HANG:
            self._take(json.loads(body))
        if meets is None:
            self._say(200, {"MessageId": f"0102-{len(ses.taken)}"}, {})
            return
        if meets is HANG:
            ses.resume.wait(60)
        elif meets.when == "answer":
            self.wfile.write(b"HTTP/1.1 20")
        self._end()

    def _take(self, request: dict[str, Any]) -> None:
        content = base64.b64decode(request["Content"]["Raw"]["Data"])
        to = tuple(request["Destination"]["ToAddresses"])
        taken = Taken(to, content, request.get("FeedbackForwardingEmailAddress"), self.number, request)
        with self.server.ses.lock:
            self.server.ses.taken.append(taken)

    def _is_signed(self, body: bytes) -> bool:
        good = self.server.ses.is_signed(self.command, self.path, self.headers, body)
        self.server.ses.unsigned += not good
        return good

    def _refuse_key(self) -> None:
        words = "The security token included in the request is invalid."
        self._error(Says(403, "UnrecognizedClientException", words))

    def _error(self, says: Says) -> None:
        url = f"{says.error}:http://internal.amazon.com/coral/com.amazonaws.services.sesv2/"
        named = {"x-amzn-ErrorType": url} if says.error else {}
        self._say(says.status, {"message": says.message} if says.message else {}, {**named, **says.headers})

    def _say(self, status: int, value: Any, headers: Mapping[str, str]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, said in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, said)
        self.end_headers()
        self.wfile.write(body)

    def _end(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
