"""A transport of the application's own: whatever it does, an attempt ends in a value, in time."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from outbox import Endpoint, Envelope, Result, Settings, Transport
from outbox.core.errors import ConfigurationError
from outbox.delivery.reply import About, Phase, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.opening import connection_to
from outbox.smtp.own_transport import OwnTransport
from tests.flask.pages import blocks
from tests.wire import certificates
from tests.wire.conftest import CONTENT, envelope

SECRET = "s3cret-key"


class Acme:
    """Does as `does` says."""

    made = 0
    closed = 0
    does: Callable[..., Any] = staticmethod(lambda *_: Result.accepted("acme-1"))

    def __init__(self, endpoint: Endpoint) -> None:
        type(self).made += 1
        self.endpoint = endpoint

    def deliver(self, envelope: Envelope, content: bytes, deadline: float) -> Result:
        result: Result = type(self).does(envelope, content, deadline)
        return result

    def close(self) -> None:
        type(self).closed += 1


class AcmeServer:
    """The service of the documentation's example, over real HTTPS; it answers with `status`, or with nothing for 0."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = certificates.server_context("good").wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        acme = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                acme.got.append(self.rfile.read(int(self.headers["Content-Length"])))
                if not acme.status:
                    self.close_connection = True
                    return
                said = json.dumps({"id": "acme-1", "error": "no"}).encode()
                self.send_response(acme.status)
                self.send_header("Content-Length", str(len(said)))
                self.send_header("Retry-After", "9")
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler


@pytest.fixture
def acme_server() -> Iterator[AcmeServer]:
    server = AcmeServer()
    yield server
    server.stop()


@pytest.fixture
def acme() -> type[Acme]:
    """A class of its own for each test."""
    return type("Own", (Acme,), {})


def relay_of(transport: Any, **config: Any) -> Relay:
    url = f"acme+https://user:{SECRET}@api.example.org:8443?stream=outbound&api_key={SECRET}2"
    config = {"OUTBOX_TRANSPORTS": "acme", "OUTBOX_TRANSPORT_ACME_URL": url, **config}
    return Settings.from_config(config, {"acme+https": transport}).transports[0]


def connected(transport: Any, **config: Any) -> OwnTransport:
    made = connection_to(None, relay_of(transport, **config))
    assert isinstance(made, OwnTransport)
    return made


def test_it_gets_its_settings_and_the_frozen_bytes(acme: type[Acme]) -> None:
    seen: list[Any] = []
    acme.does = staticmethod(lambda *arguments: seen.append(arguments) or Result.accepted("acme-7"))
    made: list[Endpoint] = []
    with connected(lambda endpoint: made.append(endpoint) or acme(endpoint), OUTBOX_CONNECTIONS="2") as connection:
        result = connection.deliver(envelope(), iter([CONTENT[:9], CONTENT[9:]]))
    assert (result.verdict, result.relay_id, result.reusable) == (Verdict.ACCEPTED, "acme-7", True)
    ((given, content, _),) = seen
    assert (given.recipient, given.sender, content) == ("b@example.net", "a@example.org", CONTENT)
    endpoint = made[-1]
    assert (endpoint.name, endpoint.scheme, endpoint.host, endpoint.port) == (
        "acme",
        "acme+https",
        "api.example.org",
        8443,
    )
    assert (endpoint.username, endpoint.password) == ("user", SECRET)
    assert endpoint.options == {"stream": "outbound", "api_key": f"{SECRET}2"}
    assert SECRET not in repr(endpoint) + repr(connection.relay)
    assert connection.relay.connections == 2
    assert isinstance(acme(endpoint), Transport)


@pytest.mark.parametrize(
    ("result", "verdict", "phase", "about"),
    [
        (Result.refused("no such user", code=422, about="recipient"), "permanent", Phase.DOT, About.RECIPIENT),
        (Result.deferred("later", 60), "transient", Phase.DOT, None),
        (Result.unavailable("down"), "transport", Phase.CONNECT, About.RELAY),
        (Result.unavailable("too much", 30), "transport", Phase.DOT, About.ACCOUNT),
        (Result.misconfigured("key"), "configuration", Phase.AUTH, About.RELAY),
        (Result.unknown("no answer"), "unknown", Phase.DOT, None),
    ],
)
def test_its_results(acme: type[Acme], result: Result, verdict: str, phase: Phase, about: About | None) -> None:
    acme.does = staticmethod(lambda *_: result)
    with connected(acme) as connection:
        told = connection.deliver(envelope(), CONTENT)
    assert (told.verdict, told.phase, told.about) == (verdict, phase, about)
    assert told.retry_after == result.retry_after


@pytest.mark.parametrize("wrong", [None, "sent", 1 / 3, True])
def test_what_is_no_result_is_unknown(acme: type[Acme], wrong: Any) -> None:
    acme.does = staticmethod(lambda *_: wrong)
    with connected(acme) as connection:
        result = connection.deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.UNKNOWN, Phase.DOT)
    assert type(wrong).__name__ in result.reply.text


def test_what_it_raises_is_unknown_and_its_words_are_not_written_down(
    acme: type[Acme], caplog: pytest.LogCaptureFixture
) -> None:
    """They may hold the key or the message."""

    def breaks(*_: object) -> Result:
        raise ConnectionResetError(f"https://api.example.org/?key={SECRET}")

    acme.does = staticmethod(breaks)
    with caplog.at_level(logging.DEBUG), connected(acme) as connection:
        result = connection.deliver(envelope(), CONTENT)
        assert (result.verdict, acme.closed) == (Verdict.UNKNOWN, 0) or acme.closed == 1
        acme.does = Acme.does
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert "ConnectionResetError" in result.reply.text
    assert "test_own_transport.py" in caplog.text
    assert SECRET not in caplog.text + repr(result)


def test_its_words_are_bounded_printable_and_without_its_secrets(acme: type[Acme]) -> None:
    long = f"\x1b[31m key {SECRET}, {SECRET}2 of outbound " + "x" * 5000
    acme.does = staticmethod(lambda *_: Result.refused(long, code=99999))
    with connected(acme) as connection:
        result = connection.deliver(envelope(), CONTENT)
    assert result.reply.code is None
    assert result.reply.text.startswith(r"\x1b[31m key [hidden], [hidden]")
    assert "outbound" in result.reply.text
    assert len(result.reply.text) <= 1000


def test_a_service_that_takes_a_key_once_is_asked_again(acme: type[Acme]) -> None:
    """What is unknown is handed over again at once, with the same key; only an accepted one counts."""
    keys: list[str] = []
    answers: list[Result] = []
    acme.does = staticmethod(lambda one, *_: keys.append(one.idempotency_key) or answers.pop(0))
    acme.takes_key_once = True  # type: ignore[attr-defined]
    for said, verdict in (
        ([Result.unknown("x"), Result.accepted("acme-2")], Verdict.ACCEPTED),
        ([Result.unknown("x"), Result.refused("seen")], Verdict.UNKNOWN),
        ([Result.refused("no")], Verdict.PERMANENT),
    ):
        answers[:], asked = said, []
        with connected(acme) as connection:
            result = connection.deliver(envelope(), CONTENT, before_dot=lambda asked=asked: not asked.append(1))
        assert (result.verdict, len(asked), answers) == (verdict, 1, [])
    assert len(keys) == 5
    assert len(set(keys)) == 1


def test_one_that_does_not_return_is_left_behind(acme: type[Acme]) -> None:
    """At its deadline, or when the worker gives up; the next message goes by a new one."""
    release = threading.Event()
    acme.does = staticmethod(lambda *_: release.wait(60))
    config = {"OUTBOX_LEASE_SECONDS": "2", "OUTBOX_SEND_TIMEOUT_SECONDS": "0.6"}
    connection = connected(acme, **config)
    result = connection.deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.UNKNOWN, Phase.DOT)
    assert "did not return in time" in result.reply.text
    acme.does = Acme.does
    assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    release.set()
    connection.close()


def test_one_that_hangs_can_be_given_up(acme: type[Acme]) -> None:
    begun, release = threading.Event(), threading.Event()
    acme.does = staticmethod(lambda *_: begun.set() or release.wait(60))
    connection = connected(acme)
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(connection.deliver(envelope(), CONTENT)))
    thread.start()
    assert begun.wait(10)
    connection.abort()
    thread.join(10)
    release.set()
    assert results[0].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("given", "seconds"), [("7", 7.0), (-1, 0.0), (float("nan"), None), ("soon", None), (1e9, 86_400.0)]
)
def test_a_wait_that_is_none(acme: type[Acme], given: Any, seconds: float | None) -> None:
    acme.does = staticmethod(lambda *_: Result.deferred("later", given))
    with connected(acme) as connection:
        assert connection.deliver(envelope(), CONTENT).retry_after == seconds


def test_its_check(acme: type[Acme]) -> None:
    """By its own method, where it has one; nothing is sent."""
    with connected(acme) as connection:
        result = connection.check()
        assert (result.verdict, "no way to check more" in result.note) == (Verdict.ACCEPTED, True)
    for says, verdict in (
        (lambda self, deadline: Result.accepted(), Verdict.ACCEPTED),
        (lambda self, deadline: Result.misconfigured("key"), Verdict.CONFIGURATION),
        (lambda self, deadline: Result.unknown("no answer"), Verdict.TRANSPORT),
        (lambda self, deadline: 1 / 0, Verdict.TRANSPORT),
    ):
        acme.check = says  # type: ignore[attr-defined]
        with connected(acme) as connection:
            assert connection.check().verdict is verdict


def test_leave_is_asked_for_before_anything_is_handed_over(acme: type[Acme]) -> None:
    order: list[str] = []
    acme.does = staticmethod(lambda *_: order.append("deliver") or Result.accepted())
    with connected(acme) as connection:
        connection.deliver(envelope(), CONTENT, before_dot=lambda: not order.append("leave"))
        assert order == ["leave", "deliver"]
        result = connection.deliver(envelope(), CONTENT, before_dot=lambda: False)
    assert order == ["leave", "deliver"]
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.BODY)


def test_what_fails_while_it_opens_was_not_handed_over(acme: type[Acme]) -> None:
    """Whatever it says or raises there; leave is not even asked for."""
    said: list[Any] = [Result.unknown("x"), ValueError("x"), "odd", Result.misconfigured("key"), None]

    def opens(self: Any, deadline: float) -> Any:
        one = said.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    acme.open = opens  # type: ignore[attr-defined]
    asked: list[int] = []
    with connected(acme) as connection:
        results = [
            connection.deliver(envelope(), CONTENT, before_dot=lambda: not asked.append(1)) for _ in range(len(said))
        ]
    assert [one.verdict for one in results] == ["transport"] * 3 + ["configuration", "accepted"]
    assert len(asked) == 1


def test_what_is_wrong_with_it_is_told_at_start(acme: type[Acme]) -> None:
    def picky(endpoint: Endpoint) -> Acme:
        raise ValueError("the option stream is 'outbund': did you mean outbound?")

    for transports, words in (
        ({"acme+https": picky}, "OUTBOX_TRANSPORT_ACME_URL: the option stream is 'outbund'"),
        ({"acme+https": lambda endpoint: object()}, "makes object, which has no `deliver`"),
        ({"acme+https": 7}, "not a class, or a function that makes one"),
        ({"smtp": acme, "acme+https": acme}, "the scheme 'smtp' is the outbox's own"),
        ({"Acme HTTPS": acme, "acme+https": acme}, "'Acme HTTPS' is not the scheme of a URL"),
        ({}, "does not begin with one of smtp://"),
    ):
        config = {"OUTBOX_TRANSPORTS": "acme", "OUTBOX_TRANSPORT_ACME_URL": f"acme+https://u:{SECRET}@x.example"}
        with pytest.raises(ConfigurationError) as raised:
            Settings.from_config(config, transports)  # type: ignore[arg-type]
        assert words in str(raised.value)
        assert SECRET not in str(raised.value)


def test_what_is_wrong_with_a_url_of_ses() -> None:
    for url, words in (
        ("ses+https://email.eu-west-1.amazonaws.com", "there is no access key in it"),
        ("ses+https://k:s@proxy.example", "does not name a region"),
        ("ses+https://k:s@email.eu-west-1.amazonaws.com?regoin=x", "Did you mean region?"),
        (
            "ses+https://k:s@email.eu-west-1.amazonaws.com?pipelining=no",
            "pipelining in OUTBOX_TRANSPORT_SES_URL has no",
        ),
        ("ses+https://k:s@email.eu-west-1.amazonaws.com?rate=9/s&per_day=5", "9/second and 5/day, and the first can"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            Settings.from_config({"OUTBOX_TRANSPORTS": "ses", "OUTBOX_TRANSPORT_SES_URL": url})
        assert words in str(raised.value)
    bad = "ses+https://k:s@email.eu-west-1.amazonaws.com?session_token=a%0Ab"
    with pytest.raises(ConfigurationError, match="holds a character that none has"):
        Settings.from_config({"OUTBOX_TRANSPORTS": "ses", "OUTBOX_TRANSPORT_SES_URL": bad})
    good = "ses+https://k:s%2Fs@email-fips.us-gov-west-1.amazonaws.com"
    relay = Settings.from_config({"OUTBOX_TRANSPORTS": "ses", "OUTBOX_TRANSPORT_SES_URL": good}).transports[0]
    assert (dict(relay.options), relay.port, relay.password) == ({"region": "us-gov-west-1"}, 443, "s/s")


def test_the_one_of_the_documentation(acme_server: AcmeServer) -> None:
    """Each answer of a real service, and its verdict."""
    (block,) = (one for one in blocks("http.md") if one.language == "python")
    names: dict[str, Any] = {}
    exec(block.text.partition("\napp.config")[0], names)
    config = {
        "OUTBOX_TRANSPORTS": "acme",
        "OUTBOX_TRANSPORT_ACME_URL": f"acme+https://:key@localhost:{acme_server.port}?stream=outbound",
        "OUTBOX_TLS_CA_FILE": str(certificates.ca_file()),
    }
    relay = Settings.from_config(config, {"acme+https": names["Acme"]}).transports[0]
    found = []
    with OwnTransport(relay, lambda: names["Acme"](relay.endpoint)) as connection:
        for status in (200, 401, 429, 503, 422, 0):
            acme_server.status = status
            found.append(connection.deliver(envelope(), CONTENT))
    assert [one.verdict for one in found] == [
        "accepted",
        "configuration",
        "transport",
        "transient",
        "permanent",
        "unknown",
    ]
    assert (found[0].relay_id, found[2].retry_after) == ("acme-1", 9.0)
    assert acme_server.got == [CONTENT] * 6
    acme_server.stop()
    with OwnTransport(relay, lambda: names["Acme"](relay.endpoint)) as connection:
        assert connection.deliver(envelope(), CONTENT).phase is Phase.CONNECT
