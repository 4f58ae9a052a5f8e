"""The wish to end, as signal handlers express it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from outbox.core.shutdown import Stop

STORM = """
import signal
from outbox.core.shutdown import Stop

stop = Stop()
signal.signal(signal.SIGALRM, lambda number, frame: stop.set())
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
for _ in range(20_000):
    stop = Stop()
    stop.wait(0)
signal.setitimer(signal.ITIMER_REAL, 0)
print("alive")
"""


def test_waiting_ends_when_it_is_set() -> None:
    """At once, and for good."""
    stop = Stop()
    assert not stop.wait(0)
    assert not stop.is_set()
    stop.set()
    started = time.monotonic()
    assert stop.wait(30)
    assert stop.wait(30)
    assert stop.is_set()
    assert time.monotonic() - started < 5


def test_a_signal_ends_the_wait() -> None:
    """A handler that sets it wakes the main thread."""
    stop = Stop()
    before = signal.signal(signal.SIGALRM, lambda number, frame: stop.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert stop.wait(30)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_may_set_it_at_any_moment() -> None:
    """Ten thousand signals a second into every line of `wait`: no deadlock, as `threading.Event` has."""
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "alive\n"
