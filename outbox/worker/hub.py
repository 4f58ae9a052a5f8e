"""Many connections in one thread: each runs until it has to wait, and meanwhile the others do.

A thread for each connection spends more time on changing threads than on mail. The code that waits stays as it is, top
down; only the waits know of the hub. What blocks in another way (the database) must be put `aside`, or it holds up all.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

import greenlet  # type: ignore[import-untyped]

from outbox.core.clock import awake, monotonic
from outbox.core.sync import EventCount
from outbox.worker.selector import READY, Ready

T = TypeVar("T")

LONGEST_SLEEP = 1.0
"""Seconds after which a hub with nothing to do turns once, so that one that stands still can be told by `turned_at`."""

_EVENT_STEP = 0.01  # seconds between two looks at an event that nobody announces
_ASIDE_THREADS = 4


class Hub:
    """Runs jobs. `run` belongs to one thread; the waits to its jobs; `post` and `ring` are thread-safe."""

    def __init__(self, sockets: type[Ready] = READY) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._sockets = sockets(self._reader)
        self._main: greenlet.greenlet | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._sleeping = False
        self._sleepers: dict[greenlet.greenlet, float] = {}  # who waits, and until when
        self._next_end = 0.0  # no sleeper's time is up before
        self._aside: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._helpers = 0
        self.turned_at = awake()
        """When it last had its hands free, by `clock.awake`."""
        self.turned: Callable[[], None] = lambda: None
        """Called after each turn, when all that could go on has done so."""

    def run(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Until all jobs have ended. Raises what one of them raises."""
        self._main = greenlet.getcurrent()
        running = [greenlet.greenlet(job, self._main) for job in jobs]
        for one in running:
            one.switch()
        while any(not one.dead for one in running):
            self._turn()

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made by the hub soon; from any thread."""
        self._posted.append(call)
        if self._sleeping:
            with contextlib.suppress(BlockingIOError):  # full: it will wake
                os.write(self._writer, b".")

    def sleep(self, seconds: float) -> bool:
        """Let others go on until `wake`, or for `seconds`; whether it was woken."""
        me = greenlet.getcurrent()
        end = monotonic() + seconds
        self._sleepers[me] = end
        self._next_end = min(self._next_end, end)
        assert self._main is not None  # noqa: S101
        return bool(self._main.switch())

    def wake(self, who: greenlet.greenlet) -> None:
        """Go on with one that sleeps; only from within the hub."""
        if self._sleepers.pop(who, None) is not None:
            who.switch(True)

    def socket(self, sock: socket.socket, event: int, timeout: float) -> bool:
        """As `smtp.waiting.Waiting`'s."""
        if self._sockets.begin(sock, event, greenlet.getcurrent()):
            return True
        try:
            return self.sleep(max(0.0, timeout))
        finally:
            self._sockets.end(sock)

    def event(self, event: threading.Event, timeout: float) -> bool:
        """As `smtp.waiting.Waiting`'s."""
        end = monotonic() + timeout
        while not event.is_set() and (left := end - monotonic()) > 0:
            self.sleep(min(left, _EVENT_STEP))
        return event.is_set()

    def aside(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises; it is made in another thread, and others go on meanwhile."""
        me = greenlet.getcurrent()
        future: Future[T] = Future()
        waits = True

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                future.set_exception(error)
            self.post(lambda: self.wake(me) if waits else None)

        self._aside.put(run)
        if self._helpers < _ASIDE_THREADS:
            self._helpers += 1
            threading.Thread(target=self._help, name=f"outbox-aside-{self._helpers}", daemon=True).start()
        while not future.done():
            self.sleep(LONGEST_SLEEP)
        waits = False
        result: T = future.result()
        return result

    def event_count(self) -> EventCount:
        """One that jobs of this hub can wait for."""
        return _HubEventCount(self)

    def _help(self) -> None:
        while True:
            self._aside.get()()

    def _turn(self) -> None:
        self._sleeping = True  # from here on who posts writes as well
        patience = 0.0 if self._posted else min(LONGEST_SLEEP, max(0.0, self._next_end - monotonic()))
        ready = self._sockets.poll(patience)
        self._sleeping = False
        now, self.turned_at = monotonic(), awake()
        for waiter in ready:
            if waiter is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._reader, 4096)
            else:
                self.wake(waiter)
        while self._posted:
            self._posted.popleft()()
        if now >= self._next_end:
            self._end_sleep(now)
        self.turned()

    def _end_sleep(self, now: float) -> None:
        over = [one for one, end in self._sleepers.items() if end <= now]
        for one in over:
            if self._sleepers.pop(one, None) is not None:
                one.switch(False)
        self._next_end = min(self._sleepers.values(), default=now + LONGEST_SLEEP)

    def __del__(self) -> None:
        self._sockets.close()
        os.close(self._reader)
        os.close(self._writer)


class _HubEventCount:
    """Rung from any thread, waited for by jobs of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: list[greenlet.greenlet] = []
        self.count = 0

    def ring(self) -> None:
        self.count += 1
        if self._waiting:
            self._hub.post(self._wake)

    def wait(self, count: int, timeout: float) -> None:
        me = greenlet.getcurrent()
        self._waiting.append(me)  # before the look at the count: who rings does it the other way round
        try:
            if self.count == count:
                self._hub.sleep(max(0.0, timeout))
        finally:
            if me in self._waiting:
                self._waiting.remove(me)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._hub.wake(one)
