"""Servers and networks that waste time or memory: each try ends within its deadline, and memory does not grow."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from outbox.delivery.reply import Phase, Result, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from tests.wire.actions import ENDLESS_LINE, ENDLESS_LINES, SILENCE, After, Choice, Drip, Endless, Take
from tests.wire.conftest import CONTENT, envelope, once_reached
from tests.wire.server import SmtpServer

Connect = Callable[[Relay], Connection]

LIMIT = 0.4  # seconds, before the dot and after it
GRACE = 15.0  # for a busy machine; without a deadline each of these would take longer, or for ever
STEPS = (
    ("greeting", Phase.GREETING),
    ("ehlo", Phase.EHLO),
    ("starttls", Phase.TLS),
    ("handshake", Phase.TLS),
    ("ehlo_tls", Phase.EHLO),
    ("auth", Phase.AUTH),
    ("mail", Phase.MAIL),
    ("rcpt", Phase.RCPT),
    ("data", Phase.DATA),
    ("dot", Phase.DOT),
)
BIG = (b"z" * 76 + b"\r\n") * 200_000  # more than all socket buffers hold


@pytest.mark.parametrize(("step", "phase"), STEPS)
def test_one_byte_at_a_time(step: str, phase: Phase, connect: Connect) -> None:
    """A reply that comes byte by byte, never silent for long, does not stretch the deadline."""
    drip = Drip("250 " + "a" * 500, every=0.05)
    with SmtpServer({step: drip}, tls="starttls", auth={"u": "p"}) as server:

        def attempt(limit: float) -> Result:
            result, seconds = timed(connect(relay(server, limit)), CONTENT)
            assert seconds <= limit + GRACE
            return result

        result = once_reached(server, step, LIMIT, attempt)
        assert result.phase is phase
        assert result.verdict is (Verdict.UNKNOWN if phase is Phase.DOT else Verdict.TRANSPORT)
        assert result.duration > LIMIT / 2 or step == "handshake"  # which is none of TLS from its first byte on


@pytest.mark.parametrize("endless", [ENDLESS_LINES, ENDLESS_LINE, Endless(b"\0" * 4096)], ids=["lines", "line", "nul"])
@pytest.mark.parametrize(("step", "phase"), [each for each in STEPS if each[0] != "handshake"])
def test_a_reply_without_end(step: str, phase: Phase, endless: Endless, connect: Connect) -> None:
    """A reply without end is cut off: in time, and with less than 10 MB more memory."""
    with SmtpServer({step: endless}, tls="starttls", auth={"u": "p"}) as server:
        connection = connect(relay(server, 60))
        tracemalloc.start()
        try:
            result, seconds = timed(connection, CONTENT)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert result.phase is phase
        assert result.verdict is (Verdict.UNKNOWN if phase is Phase.DOT else Verdict.TRANSPORT)
        assert seconds <= GRACE
        assert peak < 10_000_000
        assert re.search("of more than [0-9]+ bytes|no SMTP reply", result.reply.text)


@pytest.mark.parametrize("tls", [None, "starttls"])
def test_a_server_that_stops_reading(tls: str | None, connect: Connect) -> None:
    """A write that blocks ends at the deadline; the server cannot have the mail."""
    script: dict[str, Choice] = {"body": After(0, SILENCE)}
    with SmtpServer(script, tls=tls, extensions=("PIPELINING",), receive_buffer=4096) as server:

        def attempt(limit: float) -> Result:
            result, seconds = timed(connect(server.relay(send_timeout=limit)), BIG)
            assert seconds <= limit + GRACE
            return result

        result = once_reached(server, "body", LIMIT, attempt)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.BODY)


def test_a_server_that_reads_slowly(connect: Connect) -> None:
    """Content that trickles away is cut off at the deadline, though no single write waits long."""
    with trickling() as port:
        slow = Relay(host="127.0.0.1", port=port, send_timeout=3, command_timeout=3)
        result, seconds = timed(connect(slow), BIG)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.BODY)
        assert seconds <= 3 + GRACE


def test_a_connection_that_nobody_takes(connect: Connect) -> None:
    """Packets that vanish: connecting ends at its limit."""
    with full_backlog() as port:
        result, seconds = timed(connect(Relay(host="127.0.0.1", port=port, connect_timeout=LIMIT)), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.CONNECT)
        assert seconds <= LIMIT + GRACE


def test_a_name_that_is_not_resolved_in_time(connect: Connect, slow_resolver: threading.Event) -> None:
    """A resolver that hangs does not hang the worker, and the look-up is not piled up by the next mail."""
    before = threading.active_count()
    connection = connect(Relay(host="slow.example", connect_timeout=0.3, allow_plaintext=True))
    for _ in range(3):
        result, seconds = timed(connection, CONTENT)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.RESOLVE)
        assert seconds <= 0.3 + GRACE
    assert threading.active_count() <= before + 1
    slow_resolver.set()


def test_all_addresses_are_tried_within_the_limit(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead first address leaves enough of the limit for the second."""
    with full_backlog() as dead, SmtpServer() as server:
        info = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: info)
        result = connect(server.relay(host="two.example", allow_plaintext=True, connect_timeout=4.0))
        assert result.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


def test_hostile_text_is_escaped_and_cut(connect: Connect) -> None:
    """What a server says is kept as one printable line of bounded length."""
    with SmtpServer({"rcpt": "550 5.1.1 \x1b[2J\x07 \u202eevil\x00 " + "w" * 4000}) as server:
        text = connect(server.relay()).deliver(envelope(), CONTENT).reply.text
        assert text.isprintable()
        assert text.startswith(r"\x1b[2J\x07 \u202eevil\x00 www")
        assert len(text) <= 1000


BLOCKED: list[tuple[str, dict[str, Choice], Phase, Verdict]] = [
    ("greeting", {"greeting": SILENCE}, Phase.GREETING, Verdict.TRANSPORT),
    ("handshake", {"handshake": SILENCE}, Phase.TLS, Verdict.TRANSPORT),
    ("mail", {"mail": SILENCE}, Phase.MAIL, Verdict.TRANSPORT),
    ("body", {"body": After(0, SILENCE)}, Phase.BODY, Verdict.TRANSPORT),
    ("dot", {"dot": SILENCE}, Phase.DOT, Verdict.UNKNOWN),
    ("dot taken", {"dot": Take(SILENCE)}, Phase.DOT, Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("script", "phase", "verdict"), [row[1:] for row in BLOCKED], ids=[row[0] for row in BLOCKED])
def test_abort_from_another_thread(script: dict[str, Choice], phase: Phase, verdict: Verdict, connect: Connect) -> None:
    """`abort` ends a hung `deliver` at once; afterwards the connection serves again."""
    step = next(iter(script))
    with SmtpServer(script, tls="starttls", extensions=(), receive_buffer=4096) as server:
        patient = {"send_timeout": 60.0, "command_timeout": 60.0, "dot_timeout": 60.0}
        connection = connect(server.relay(**patient))
        with ThreadPoolExecutor(1) as pool:
            content = BIG if phase is Phase.BODY else CONTENT
            hung = pool.submit(connection.deliver, envelope(size=0), content)
            server.wait_until(lambda: server.steps[step])
            until_phase(connection, phase)
            started = time.monotonic()
            connection.abort()
            result = hung.result(30)
        assert time.monotonic() - started < GRACE
        assert (result.verdict, result.phase) == (verdict, phase)
        assert "given up by this worker" in result.reply.text
        server.script.clear()
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED


def test_abort_while_connecting(connect: Connect) -> None:
    """A connection that hangs before it is one can be ended, too."""
    with full_backlog() as port:
        aborted(connect(Relay(host="127.0.0.1", port=port, connect_timeout=60)), Phase.CONNECT)


def test_abort_while_resolving(connect: Connect, slow_resolver: threading.Event) -> None:
    """So can a look-up."""
    aborted(connect(Relay(host="slow.example", connect_timeout=60, allow_plaintext=True)), Phase.RESOLVE)
    slow_resolver.set()


def aborted(connection: Connection, phase: Phase) -> None:
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(connection.deliver, envelope(), CONTENT)
        until_phase(connection, phase)
        started = time.monotonic()
        connection.abort()
        result = hung.result(30)
    assert time.monotonic() - started < GRACE
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, phase)


def until_phase(connection: Connection, phase: Phase) -> None:
    limit = time.monotonic() + 20
    while connection.host is None or connection.host.phase is not phase:
        assert time.monotonic() < limit, f"never came to {phase}"
        threading.Event().wait(0.005)


def relay(server: SmtpServer, limit: float) -> Relay:
    limits = {"send_timeout": limit, "dot_timeout": limit, "command_timeout": limit}
    return server.relay(**limits, username="u", password="p")


def timed(connection: Connection, content: bytes) -> tuple[Result, float]:
    started = time.monotonic()
    result = connection.deliver(envelope(size=0), content)
    seconds = time.monotonic() - started
    assert 0 < result.duration <= seconds
    return result, seconds


@pytest.fixture
def slow_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A system resolver that answers only when the event is set."""
    answer = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if re.match("slow", host):
            answer.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answer
    answer.set()


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a listener that takes no connection any more: a SYN gets no answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def trickling() -> Iterator[int]:
    """The port of a server that takes the content a few kilobytes at a time."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def serve() -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            client.sendall(b"220 hi\r\n")
            for reply in (b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                client.recv(4096)
                client.sendall(reply)
            while not stop.wait(0.05) and client.recv(4096):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.close()
        thread.join(5)
