"""Calls code that may hang, in a thread that is left behind if it does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

_SLICE = 0.1  # seconds after which a wait looks whether it was given up


class Hangs(Exception):
    """A call did not come back in time, or was given up; it may still be going on."""


class _Call:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.done = threading.Event()
        self.value: Any = None
        self.error: Exception | None = None


class Caller:
    """Makes calls one after the other in a thread of its own. Belongs to one thread.

    After Hangs it is of no use: the thread belongs to the call that did not come back.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(
        self, function: Callable[[], Any], end: float, monotonic: Callable[[], float], given_up: threading.Event
    ) -> Any:
        """What `function` returns or raises. Raises Hangs at `end`, or once `given_up` is set."""
        call = _Call(function)
        self._calls.put(call)
        while not call.done.wait(max(0.0, min(_SLICE, end - monotonic()))):
            if monotonic() >= end or given_up.is_set():
                raise Hangs
        if call.error is not None:
            raise call.error
        return call.value

    def later(self, function: Callable[[], Any]) -> None:
        """As `call`, but waits for nothing."""
        self._calls.put(_Call(function))

    def end(self) -> None:
        """No further calls: the thread ends when it has made those that were asked for."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.value = call.function()
            except Exception as error:  # noqa: BLE001 - raised where it was called
                call.error = error
            call.done.set()
