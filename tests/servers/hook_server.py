"""A receiver of webhooks over real HTTPS, which verifies what it gets and answers as it is told to.

with HookServer() as hooks:
    hooks.script = [500, 503]    # what comes next; then all is well
    hooks.calls                  # (status, id, type, data) of each, verified
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.wire import certificates

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four bytes").decode()
_TOLERANCE = 300  # seconds


class Call(NamedTuple):
    """One that was verified."""

    status: int  # that was answered
    id: str
    type: str
    data: dict[str, Any]
    body: bytes
    headers: Mapping[str, str]


class HookServer:
    """Listens on a free port of this machine from `start` (or `with`) to `stop`."""

    def __init__(self) -> None:
        self.script: list[int] = []
        self.headers: dict[str, str] = {}  # of each answer
        self.calls: list[Call] = []
        self.forged = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self._server.server_address[1]}/hooks?of=shop"

    def setting(self, *types: str, **more: Any) -> str:
        """OUTBOX_WEBHOOKS for it."""
        ca_file = str(certificates.ca_file())
        hook = {"url": self.url, "secret": SECRET, "types": types, "name": "crm", "ca_file": ca_file, **more}
        return json.dumps([hook])

    def start(self) -> Self:
        server = self._server = _Server(("127.0.0.1", 0), _Handler)
        server.hooks = self
        server.socket = certificates.server_context("good").wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hooks: HookServer


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        hooks, body = server.hooks, self.rfile.read(int(self.headers["Content-Length"]))
        with hooks.lock:
            status = hooks.script.pop(0) if hooks.script else 204
            if not self._is_signed(body):
                hooks.forged += 1
                status = 401
            else:
                said = json.loads(body)
                given = {name.lower(): value for name, value in self.headers.items()}
                hooks.calls.append(Call(status, given["webhook-id"], said["type"], said["data"], body, given))
        self.send_response(status)
        for name, value in hooks.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _is_signed(self, body: bytes) -> bool:
        """By the description of Standard Webhooks."""
        id, stamp = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "0")
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        wanted = base64.b64encode(hmac.digest(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256)).decode()
        signed = any(one == f"v1,{wanted}" for one in self.headers.get("webhook-signature", "").split())
        return signed and abs(time.time() - int(stamp)) < _TOLERANCE

    def log_message(self, format: str, *args: Any) -> None:
        pass
