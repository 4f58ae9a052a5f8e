"""Tells others which deliveries were committed: from a thread of its own, so that no request waits for a broker.

Best effort: what is not told, since a process dies or a broker does not answer, is found by the next sweep.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from outbox.core.clock import Debounce, monotonic
from outbox.core.events import first_line, logger

BATCH = 100
"""At most this many deliveries in one task."""

CAPACITY = 10_000
"""At most this many messages wait to be told of."""

_MOST = 1000  # messages that are looked up at once
_TOGETHER_SECONDS = 0.01  # between two tasks: what many commits bring meanwhile goes in one
_PAUSE_SECONDS = 5.0  # after a broker did not answer
_COMPLAINT_SECONDS = 60.0
_EXIT_SECONDS = 2.0  # for what is still to be told when the process ends


class Publisher:
    """Thread-safe, and good for each of several forked processes."""

    def __init__(self, look_up: Callable[[Sequence[str]], list[int]], publish: Callable[[list[int]], None]) -> None:
        """`look_up`: the deliveries that are due of messages, by Message-ID. `publish`: hands some of them over."""
        self._look_up = look_up
        self._publish = publish
        self._complains = Debounce(_COMPLAINT_SECONDS).passes
        self._resume_at = 0.0  # monotonic
        self._pid = 0
        self._begin()

    def queued(self, message_id: str) -> None:
        """A message was committed."""
        if monotonic() < self._resume_at or len(self._waiting) >= CAPACITY:
            return
        if self._pid != os.getpid():  # the first of this process, or after a fork
            self._begin()
            self._start()
        self._waiting.append(message_id)
        self._news.set()

    def _begin(self) -> None:
        self._waiting: deque[str] = deque()
        self._news = threading.Event()
        self._calm = threading.Event()
        self._calm.set()
        self._never = threading.Event()

    def _start(self) -> None:
        self._pid = os.getpid()
        threading.Thread(target=self._run, name="outbox-publisher", daemon=True).start()
        atexit.register(self.flush, _EXIT_SECONDS)

    def flush(self, timeout: float) -> None:
        """Wait until all was told, for at most `timeout` seconds."""
        if self._pid == os.getpid() and (self._waiting or not self._calm.is_set()):
            self._calm.clear()
            self._news.set()
            self._calm.wait(timeout)

    def _run(self) -> None:
        told_at = 0.0
        while True:
            if not self._waiting:
                self._calm.set()
                self._news.wait()
            self._never.wait(max(0.0, told_at + _TOGETHER_SECONDS - monotonic()))
            self._news.clear()
            self._calm.clear()
            names = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
            if names:
                self._tell(names)
                told_at = monotonic()

    def _tell(self, names: Sequence[str]) -> None:
        try:
            ids = self._look_up(names)
            for start in range(0, len(ids), BATCH):
                self._publish(ids[start : start + BATCH])
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises: the mail is in the database
            self._resume_at = monotonic() + _PAUSE_SECONDS
            self._waiting.clear()
            if self._complains():
                logger.warning(
                    "no task could be published for mail that was committed; the next outbox.sweep finds it: %s",
                    first_line(error),
                )
