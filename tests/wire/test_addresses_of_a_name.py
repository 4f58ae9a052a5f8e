"""A relay's name with several addresses: the next one serves where one takes the connection and no more."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from outbox.delivery.reply import About, Phase, Verdict
from outbox.smtp.connection import Connection
from outbox.smtp.learned import Learned
from tests.wire.actions import CLOSE, GARBAGE, RESET, SILENCE, Action
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[..., Connection]
Pair = tuple[SmtpServer, SmtpServer]
NAME = "localhost"  # the certificate's


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the system's resolver gives for every name."""
    addresses = ["127.0.0.1", "127.0.0.2"]

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


@pytest.fixture
def two(resolver: list[str]) -> Iterator[Callable[..., Pair]]:
    """Makes two servers at the same port of two addresses; the script is the first one's."""
    with ExitStack() as servers:

        def make(script: dict[str, Any], **settings: Any) -> Pair:
            first = servers.enter_context(SmtpServer(script, **settings))
            settings.pop("certificate", None)
            return first, servers.enter_context(SmtpServer(host="127.0.0.2", port=first.port, **settings))

        yield make


FAULTS: list[Any] = [
    pytest.param({step: action}, tls, id=f"{step} {action}")
    for step, tls, actions in (
        ("greeting", None, ("421 4.3.2 no", "554 5.7.1 no", CLOSE, RESET, SILENCE, GARBAGE)),
        ("ehlo", None, ("421 4.3.2 no", CLOSE, SILENCE)),
        ("starttls", "starttls", ("454 4.7.0 no", CLOSE)),
        ("handshake", "starttls", (CLOSE, GARBAGE, SILENCE)),
        ("handshake", "implicit", (CLOSE, GARBAGE, SILENCE)),
    )
    for action in actions
]


@pytest.mark.parametrize(("script", "tls"), FAULTS)
def test_the_second_address_serves(
    script: dict[str, Action], tls: str | None, two: Callable[..., Pair], connect: Connect
) -> None:
    """Whatever is wrong with the first one after TCP; the next connections begin with the one that served."""
    first, second = two(script, tls=tls)
    relay = first.relay(host=NAME, command_timeout=2.0 if SILENCE in script.values() else 30.0)
    learned = Learned()
    for number in range(3):
        connection = connect(relay, learned=learned)
        assert connection.deliver(envelope(f"r{number}@example.net"), CONTENT).verdict is Verdict.ACCEPTED
        connection.close()
    assert len(second.messages) == 3
    assert (first.connections, second.connections) == (1, 3)


def test_a_certificate_that_is_not_the_relays(two: Callable[..., Pair], connect: Connect) -> None:
    """The other address is tried, as strictly; nothing was said to the one that proved nothing."""
    first, second = two({}, tls="implicit", certificate="expired")
    assert connect(first.relay(host=NAME)).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert (len(second.messages), first.commands) == (1, [])


def test_the_first_one_serves_again_when_the_second_fails(two: Callable[..., Pair], connect: Connect) -> None:
    """What is remembered is a beginning, not the only way."""
    first, second = two({"greeting": "421 4.3.2 no"})
    connection = connect(first.relay(host=NAME))
    connection.deliver(envelope(), CONTENT)
    connection.close()
    first.script.clear()
    second.script["greeting"] = CLOSE
    assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert (len(first.messages), len(second.messages)) == (1, 1)


def test_the_first_failure_is_told_where_all_fail(two: Callable[..., Pair], connect: Connect) -> None:
    """With its phase and its words, and both were asked."""
    first, second = two({"greeting": "421 4.7.0 Too many connections"})
    second.script["ehlo"] = CLOSE
    result = connect(first.relay(host=NAME)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.GREETING)
    assert (result.reply.code, result.about) == (421, About.CONNECTIONS)
    assert (first.connections, second.connections) == (1, 1)


def test_one_that_takes_no_connection_comes_before_one_that_refuses(
    two: Callable[..., Pair], resolver: list[str], connect: Connect
) -> None:
    """Every address of the look-up has its turn."""
    first, second = two({"greeting": SILENCE})
    resolver[:] = ["127.0.0.3", "127.0.0.1", "127.0.0.4", "127.0.0.2"]
    relay = first.relay(host=NAME, command_timeout=2.0)
    assert connect(relay).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert len(second.messages) == 1


def test_a_dead_address_is_not_waited_for(
    two: Callable[..., Pair], resolver: list[str], connect: Connect, dead: Callable[[int], str]
) -> None:
    """The next one is tried beside one that does not answer (RFC 8305), long before the time to connect is over."""
    first, _ = two({})
    resolver[:] = [dead(first.port), "127.0.0.1"]
    started = time.monotonic()
    assert connect(first.relay(host=NAME, connect_timeout=60)).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert time.monotonic() - started < 15


def test_only_dead_addresses(
    two: Callable[..., Pair], resolver: list[str], connect: Connect, dead: Callable[[int], str]
) -> None:
    """The time to connect holds for all of them together."""
    first, _ = two({})
    resolver[:] = [dead(first.port), "127.0.0.9"]
    result = connect(first.relay(host=NAME, connect_timeout=1)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.CONNECT)
    assert "cannot connect to localhost" in result.reply.text


@pytest.fixture
def dead() -> Iterator[Callable[[int], str]]:
    """An address that answers no attempt to connect to this port: its queue is full."""
    with ExitStack() as sockets:

        def make(port: int) -> str:
            listening = sockets.enter_context(socket.socket())
            listening.bind(("127.0.0.8", port))
            listening.listen(0)
            for _ in range(4):
                filling = sockets.enter_context(socket.socket())
                filling.setblocking(False)
                filling.connect_ex(("127.0.0.8", port))
            return "127.0.0.8"

        yield make


def test_they_share_the_time(two: Callable[..., Pair], connect: Connect) -> None:
    """All are silent: the delivery's own limit holds."""
    first, second = two({"greeting": SILENCE})
    second.script["greeting"] = SILENCE
    started = time.monotonic()
    result = connect(first.relay(host=NAME, command_timeout=60, send_timeout=3)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.GREETING)
    assert time.monotonic() - started < 20
    assert (first.connections, second.connections) == (1, 1)


def test_a_wrong_password_is_said_to_one_address(two: Callable[..., Pair], connect: Connect) -> None:
    """A log-in that is refused is not repeated elsewhere: it counts towards a lock-out."""
    first, second = two({}, tls="starttls", auth={"u": "p"})
    result = connect(first.relay(host=NAME, username="u", password="wrong")).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (Verdict.CONFIGURATION, Phase.AUTH)
    assert second.connections == 0
