"""Many jobs in one thread: who waits lets the others go on, and goes on when what it waits for is there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from outbox.core.clock import monotonic
from outbox.smtp.waiting import READ, WRITE
from outbox.worker.hub import Hub
from outbox.worker.selector import Asked, Edges, Ready


@pytest.fixture(params=[Edges, Asked])
def hub(request: pytest.FixtureRequest) -> Hub:
    """A hub over either way of asking for sockets."""
    kind: type[Ready] = request.param
    return Hub(kind)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection that don't block."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_jobs_take_turns(hub: Hub) -> None:
    """One that sleeps holds up nobody; who sleeps shorter goes on first."""
    said: list[str] = []

    def job(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            said.append(name)
            assert not hub.sleep(seconds)
            said.append(name.upper())

        return run

    hub.run([job("a", 1.0), job("b", 0.02)])
    assert said == ["a", "b", "B", "A"]


def test_a_socket_wakes_who_waits_for_it(hub: Hub, pair: tuple[socket.socket, socket.socket]) -> None:
    """Again and again, also when the data came before the wait; without data the time limit ends it."""
    near, far = pair
    heard: list[bytes | bool] = []

    def listen() -> None:
        for _ in range(3):
            while True:
                try:
                    heard.append(near.recv(10))
                    break
                except BlockingIOError:
                    assert hub.socket(near, READ, 60)
        with pytest.raises(BlockingIOError):
            near.recv(10)
        began = monotonic()
        heard.append(hub.socket(near, READ, 0.05) and hub.socket(near, READ, 0.05))
        assert monotonic() - began < 10

    def speak() -> None:
        for word in (b"one", b"two", b"three"):
            far.send(word)
            hub.sleep(0.01)

    hub.run([listen, speak])
    assert heard == [b"one", b"two", b"three", False]


def test_a_full_socket_is_waited_for(hub: Hub, pair: tuple[socket.socket, socket.socket]) -> None:
    """Writing goes on when the other side has read."""
    near, far = pair
    sent = 0

    def write() -> None:
        nonlocal sent
        while sent < 3_000_000:
            try:
                sent += near.send(b"x" * 100_000)
            except BlockingIOError:
                assert hub.socket(near, WRITE, 60)

    def read() -> None:
        read = 0
        while read < 3_000_000:
            try:
                read += len(far.recv(100_000))
            except BlockingIOError:
                assert hub.socket(far, READ, 5)

    hub.run([write, read])
    assert sent >= 3_000_000


def test_a_descriptor_that_is_used_again(hub: Hub) -> None:
    """A new connection with the number of a closed one is told of as well."""
    heard: list[bytes] = []

    def talk() -> None:
        for number in range(3):
            near, far = socket.socketpair()
            with near, far:
                near.setblocking(False)
                threading.Timer(0.02, far.send, [b"%d" % number]).start()
                while len(heard) == number:
                    try:
                        heard.append(near.recv(10))
                    except BlockingIOError:
                        assert hub.socket(near, READ, 60)

    hub.run([talk])
    assert heard == [b"0", b"1", b"2"]


def test_an_event_is_counted_from_another_thread(hub: Hub) -> None:
    """By all who wait; a event between the look and the wait is not missed."""
    event_count = hub.event_count()
    heard: list[int] = []

    def wait() -> None:
        count = event_count.count
        event_count.wait(count, 60)
        heard.append(event_count.count - count)

    def missed() -> None:
        event_count.wait(event_count.count - 1, 60)
        heard.append(0)

    threading.Timer(0.05, event_count.ring).start()
    began = monotonic()
    hub.run([wait, wait, missed])
    assert heard == [0, 1, 1]
    assert monotonic() - began < 30


def test_what_blocks_is_put_aside(hub: Hub) -> None:
    """Others go on meanwhile; what it returns or raises comes back."""
    gate, said = threading.Event(), []

    def asks() -> None:
        assert hub.aside(lambda: gate.wait(60))
        said.append("answered")
        with pytest.raises(ZeroDivisionError):
            hub.aside(lambda: 1 / 0)

    def goes_on() -> None:
        hub.sleep(0.01)
        said.append("meanwhile")
        gate.set()

    hub.run([asks, goes_on])
    assert said == ["meanwhile", "answered"]


def test_an_event_is_waited_for(hub: Hub) -> None:
    """Until it is set by another thread, or for as long as asked."""
    event, gave_up, got = threading.Event(), threading.Event(), []

    def sets() -> None:
        if gave_up.wait(60):
            event.set()

    def asks_in_vain() -> None:
        got.append(hub.event(threading.Event(), 0.01))
        gave_up.set()

    threading.Thread(target=sets).start()
    hub.run([lambda: got.append(hub.event(event, 60)), asks_in_vain])
    assert got == [False, True]


def test_an_error_of_a_job_ends_the_run(hub: Hub) -> None:
    """It must not vanish: the worker has to end and be started again."""

    def fails() -> None:
        hub.sleep(0.01)
        raise LookupError("defect")

    with pytest.raises(LookupError):
        hub.run([fails, lambda: None])


def test_each_turn_is_told(hub: Hub) -> None:
    """`turned` is called when all that could go on has done so, `turned_at` shows that the hub lives."""
    turns: list[float] = []
    hub.turned = lambda: turns.append(hub.turned_at)

    def job() -> None:
        hub.sleep(0.02)

    hub.run([job])
    assert turns
    assert monotonic() - turns[-1] < 10
