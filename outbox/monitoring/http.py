"""The worker's own small HTTP server for orchestrators and Prometheus: /healthz, /readyz, /metrics. Off by default.

It listens on 127.0.0.1 unless told otherwise, without authentication: expose it to a private network only.
It says nothing about mail but numbers.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from outbox.core.errors import ConfigurationError
from outbox.core.events import logger

REQUEST_SECONDS = 5.0
"""Slower clients are disconnected."""

Question = Callable[[], str | None]
"""Called on each request: None if all is well, else what is wrong, in one line."""

_TEXT = "text/plain; charset=utf-8"


class Monitor:
    """Answers on one port, in threads of its own, from `start` to `stop`."""

    def __init__(
        self, host: str, port: int, *, live: Question, ready: Question, metrics: Callable[[], tuple[bytes, str]]
    ) -> None:
        """`port` 0: any free one. `metrics`: the page and its content type; may raise ConfigurationError."""
        self._host = host
        self._wanted = port
        self._pages: dict[str, Callable[[], tuple[int, bytes, str]]] = {
            "/healthz": lambda: _verdict(live()),
            "/readyz": lambda: _verdict(ready()),
            "/metrics": lambda: _metrics(metrics),
        }
        self._server: _Server | None = None
        self._complained = False

    @property
    def port(self) -> int | None:
        """Where it listens; None while it does not."""
        return None if self._server is None else int(self._server.server_address[1])

    def start(self) -> bool:
        """Listen, if it does not yet. A port that is taken (by the worker before, perhaps) is logged once: mail goes
        on, and the next call tries again."""
        if self._server is not None:
            return True
        try:
            self._server = _Server(self._host, self._wanted, self._pages)
        except OSError as error:
            if not self._complained:
                logger.error("health and metrics can't be served on %s:%s: %s", self._host, self._wanted, error)
            self._complained = True
            return False
        threading.Thread(target=self._server.serve_forever, name="outbox-monitor", daemon=True).start()
        logger.info("health and metrics are served on http://%s:%s", self._host, self.port)
        return True

    def stop(self) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, pages: dict[str, Callable[[], tuple[int, bytes, str]]]) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's looks the machine's name up

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the client has gone."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    server_version = "outbox"
    sys_version = ""

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self._answer(404, b"There is /healthz, /readyz and /metrics.\n", _TEXT)
            return
        try:
            code, body, kind = page()
        except Exception as error:  # noqa: BLE001 - a defect here must not be one of the worker's
            logger.error("%s can't be answered: %s", self.path.partition("?")[0], type(error).__name__)
            code, body, kind = 500, b"failed\n", _TEXT
        self._answer(code, body, kind)

    do_HEAD = do_GET

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe every few seconds is no event."""


def _verdict(wrong: str | None) -> tuple[int, bytes, str]:
    return (200, b"ok\n", _TEXT) if wrong is None else (503, f"{wrong}\n".encode(), _TEXT)


def _metrics(read: Callable[[], tuple[bytes, str]]) -> tuple[int, bytes, str]:
    try:
        return (200, *read())
    except ConfigurationError as error:
        return 501, f"{error}\n".encode(), _TEXT
