"""Calls the application's receivers of what a worker did, in a thread of their own: they hold up no mail.

A receiver that does not return is left alone with its thread, and told of nothing more until it does; the others go on
in another thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from blinker import NamedSignal
from flask import Flask

from outbox.core.clock import Debounce, awake
from outbox.core.events import Event, logger
from outbox.extension import signals

CAPACITY = 10_000
"""At most this many calls wait; further ones are dropped and counted."""

PATIENCE_SECONDS = 30.0
"""A receiver that takes longer counts as hung."""

_COMPLAINT_SECONDS = 60.0


class _Call(NamedTuple):
    receiver: Callable[..., Any]
    signal: NamedSignal
    event: Event


class Receivers:
    """The receivers of one application. Thread-safe."""

    def __init__(self, app: Flask, *, patience: float | None = None, capacity: int = CAPACITY) -> None:
        self._app = app
        self._patience = PATIENCE_SECONDS if patience is None else patience
        self._capacity = capacity
        self._waiting: deque[_Call] = deque()
        self._lock = threading.Condition()
        self._current: _Call | None = None
        self._began = 0.0
        self._thread: threading.Thread | None = None
        self._hung: set[Callable[..., Any]] = set()
        self._dropped = 0
        self._complains = Debounce(_COMPLAINT_SECONDS).passes

    def observe(self, event: Event) -> None:
        """Have the receivers told soon; to be given to `Events.observe`."""
        signal = signals.BY_EVENT.get(event.name)
        if signal is None or not signal.receivers:
            return
        calls = [_Call(receiver, signal, event) for receiver in signal.receivers_for(self._app)]
        with self._lock:
            for call in calls:
                if call.receiver in self._hung or len(self._waiting) >= self._capacity:
                    self._dropped += 1
                else:
                    self._waiting.append(call)
            if self._waiting and self._thread is None:
                self._start()
            self._lock.notify_all()

    def look(self) -> None:
        """Notice a receiver that hangs, and say what was dropped. To be called every second or so."""
        with self._lock:
            call, seconds = self._current, awake() - self._began
            hangs = call is not None and seconds > self._patience
            if call is not None and hangs:
                self._hung.add(call.receiver)
                self._current = None
                self._forget(call.receiver)
                self._start()
            dropped = self._dropped if self._dropped and self._complains() else 0
            self._dropped -= dropped
        if call is not None and hangs:
            logger.error(
                "a receiver of %s has not returned for %.0f s, and is not called again until it does: %s",
                call.signal.name,
                seconds,
                _name(call.receiver),
            )
        if dropped:
            logger.error("%d receiver calls were dropped: the receivers hang or are too slow", dropped)

    def close(self, timeout: float) -> None:
        """Wait until the receivers were told of all that happened, for at most `timeout` seconds."""
        end = awake() + timeout
        with self._lock:
            while (self._waiting or self._current is not None) and (left := end - awake()) > 0:
                self._lock.wait(min(left, 0.2))
            unsaid = len(self._waiting) + (self._current is not None) + self._dropped
        if unsaid:
            logger.error("%d receiver calls were not made or not finished before the worker stopped", unsaid)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="outbox-receivers", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                while not self._waiting:
                    self._lock.wait()
                call = self._current = self._waiting.popleft()
                self._began = awake()
            try:
                signals.tell(self._app, call.signal, call.receiver, call.event)
            except BaseException as error:  # noqa: BLE001 - a SystemExit of theirs, or what a teardown raises
                logger.error("a receiver of %s failed: %s", call.signal.name, type(error).__name__)
            with self._lock:
                self._lock.notify_all()
                if self._thread is not me:  # it took too long, and another thread has replaced this one
                    self._hung.discard(call.receiver)
                    return
                self._current = None

    def _forget(self, receiver: Callable[..., Any]) -> None:
        kept = [call for call in self._waiting if call.receiver is not receiver]
        self._dropped += len(self._waiting) - len(kept)
        self._waiting = deque(kept)


def _name(receiver: Callable[..., Any]) -> str:
    return f"{getattr(receiver, '__module__', '?')}.{getattr(receiver, '__qualname__', type(receiver).__name__)}"
