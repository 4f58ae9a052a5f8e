"""A token endpoint over real HTTPS (OAuth 2, RFC 6749): it gives out tokens that end, remembers who asked for what, and
can be down.

    with TokenServer(life=20) as endpoint:
        endpoint.url            # for OUTBOX_TOKEN_URL; its certificate is by tests.wire.certificates
        endpoint.is_valid(token)
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus

from tests.wire import certificates

CLIENT = "outbox-client"
SECRET = "hu%nter+2 &secret"
REFRESH_TOKEN = "1//refresh-me-not"
TENANT = "/tenant/oauth2/v2.0/token"


class TokenServer:
    """Listens on a free port of this machine from `start` (or `with`) to `stop`."""

    def __init__(self, *, life: float | None = 3600, certificate: str = "good") -> None:
        """`life`: seconds that a token lives; None: it does not say."""
        self.life = life
        self.certificate = certificate
        self.answer: tuple[int, Any] | None = None  # in place of a token
        self.wants_basic = False
        self.rotates = False  # each refresh token works once, and its second use ends all of them
        self.refresh_tokens = [REFRESH_TOKEN]  # the last one is good
        self.requests: list[dict[str, str]] = []  # the forms that were posted
        self.issued: dict[str, float] = {}  # token -> when it ends
        self.asserted: list[str] = []  # what clients proved themselves by, in place of a secret
        self.down = threading.Event()
        self.hold = threading.Event()  # set: answers come
        self.hold.set()
        self.turned_away = 0
        self.left: list[float] = []  # seconds that the latest token had left when another was given out
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def base(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"https://localhost:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The token endpoint."""
        return self.base + TENANT

    def is_valid(self, token: str) -> bool:
        """Whether a token is one of its own and has not ended."""
        with self._lock:
            return time.monotonic() < self.issued.get(token, 0.0)

    def withdraw(self) -> None:
        """All tokens that were given out end now."""
        with self._lock:
            self.issued.clear()

    def start(self) -> Self:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.tokens = self
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        self.hold.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer_to(self, form: dict[str, str], authorization: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers for one request."""
        with self._lock:
            self.requests.append(form)
        if self.answer is not None:
            return *self.answer, {}
        if not self._knows(form, authorization):
            challenge = {"WWW-Authenticate": 'Basic realm="tokens"'} if self.wants_basic else {}
            return (
                401,
                {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret.\nTrace"},
                challenge,
            )
        token = f"token-{len(self.issued)}-{base64.urlsafe_b64encode(str(time.time_ns()).encode()).decode()}"
        with self._lock:
            if self.issued:
                self.left.append(max(self.issued.values()) - time.monotonic())
            self.issued[token] = time.monotonic() + (self.life or 3600)
            if self.rotates and "refresh_token" in form:
                self.refresh_tokens.append(f"1//refresh-{len(self.refresh_tokens)}-{time.time_ns()}")
        granted = {"token_type": "Bearer", "access_token": token}
        if self.rotates:
            granted["refresh_token"] = self.refresh_tokens[-1]
        return 200, granted if self.life is None else {**granted, "expires_in": self.life}, {}

    def _knows(self, form: dict[str, str], authorization: str) -> bool:
        if self.wants_basic:
            user, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
            return (unquote_plus(user), unquote_plus(password)) == (CLIENT, SECRET)
        if "assertion" in form or "client_assertion" in form:
            self.asserted.append(form.get("assertion") or form["client_assertion"])
            return True
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") != self.refresh_tokens[-1]:
            self.refresh_tokens.append("revoked")
            return False
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)


class _Server(ThreadingHTTPServer):
    tokens: TokenServer

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tokens.down.is_set():
            self.tokens.turned_away += 1
            return
        context: ssl.SSLContext = certificates.server_context(self.tokens.certificate)
        with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.server.tokens.hold.wait(60)
        self._say(*self.server.tokens.answer_to(form, self.headers.get("Authorization", "")))

    def do_GET(self) -> None:
        base = self.server.tokens.base
        self._say(
            200,
            {
                "token_endpoint": base + TENANT,
                "authorization_endpoint": base + "/tenant/oauth2/v2.0/authorize",
                "issuer": base + "/tenant/v2.0",
            },
            {},
        )

    def _say(self, status: int, value: Any, headers: dict[str, str]) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, said in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, said)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
