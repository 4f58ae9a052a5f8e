"""What the threads of a process are doing, and since when: so that another thread can tell which one stands still."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple

from outbox.core.clock import awake

_innermost: dict[int, _Step] = {}
"""The step that each thread is in, by thread. No `threading.local`: one that was made before an application calls
gevent's `patch_all` would be the same for all its threads."""


class Underway(NamedTuple):
    """A step that has begun and not ended."""

    what: str
    seconds: float  # since it began, or last got on


class Progress:
    """The steps that are under way. Thread-safe, and without a lock: a reader must never have to wait."""

    def __init__(self) -> None:
        self._open: set[_Step] = set()

    def step(self, what: str) -> AbstractContextManager[None]:
        """Within it the calling thread does something that may hang: `what`, in words for the log."""
        return _Step(self._open, what)

    def underway(self) -> list[Underway]:
        """All steps, the one that has stood still for longest first."""
        now = awake()
        steps = [Underway(step.what, now - step.since) for step in self._open.copy()]
        return sorted(steps, key=lambda step: -step.seconds)

    def stuck(self, limit: float) -> str | None:
        """What has stood still for so many seconds; None: everything gets on."""
        for step in self.underway()[:1]:
            if step.seconds >= limit:
                return f"{step.what} has made no progress for {step.seconds:.0f} s"
        return None

    def excuse(self, seconds: float) -> None:
        """The whole process stood still for this long: the threads are not at fault."""
        for step in self._open.copy():
            step.since += seconds


def got_on() -> None:
    """The calling thread's step got something done, and begins to wait for the next thing."""
    step = _innermost.get(threading.get_ident())
    if step is not None:
        step.since = awake()


class _Step:
    __slots__ = ("_open", "_outer", "since", "what")

    def __init__(self, steps: set[_Step], what: str) -> None:
        self._open = steps
        self.what = what
        self.since = 0.0
        self._outer: _Step | None = None

    def __enter__(self) -> None:
        self.since = awake()
        thread = threading.get_ident()
        self._outer = _innermost.get(thread)
        if self._outer is not None:
            self._open.discard(self._outer)
        self._open.add(self)
        _innermost[thread] = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.discard(self)
        if self._outer is None:
            _innermost.pop(threading.get_ident(), None)
        else:
            _innermost[threading.get_ident()] = self._outer
            self._outer.since = awake()
            self._open.add(self._outer)
