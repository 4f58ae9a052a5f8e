"""Ends the process when one of its threads stands still, or when a stop takes too long, whatever hangs.

It is a thread of its own that waits for no lock, no database and no log. What hangs can't be joined, so nothing is:
the process ends by `os._exit`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from functools import partial

from outbox.core.clock import awake
from outbox.core.events import logger
from outbox.core.progress import Progress

LOOK_SECONDS = 0.25
"""How often it looks."""

NOTICE_SECONDS = 3.0
"""From the moment a thread counts as hung, and /healthz says so, until the worker begins to leave."""

LEAVE_SECONDS = 7.0
"""For leaving: recording what the relay has answered. Then the process ends."""

STOP_SECONDS = 10.0
"""On top of the grace period of a stop, until the process ends whatever hangs."""

_SLOW_SECONDS = 10.0  # a step that takes longer is worth a line in the log
_AGAIN_SECONDS = 60.0  # and another after this long
_JUMP_SECONDS = 5.0  # this thread did not run for this long: the whole process, or the machine, stood still
_LAST_WORDS_SECONDS = 1.0  # for a log that does not move


class Watchdog:
    """Looks after the threads of one worker."""

    def __init__(
        self,
        progress: Progress,
        limit: float,
        faults: Callable[[], str | None],
        *,
        told_to_stop: Callable[[], bool],
        grace: float,
        alive: Callable[[], None] = lambda: None,
        leave: Callable[[int, str | None], None] | None = None,
    ) -> None:
        """`limit`: seconds that a step may stand still; `faults`: what else is wrong, None: nothing.

        `grace`: seconds that a clean stop may take. `alive` is called each time it looks. `leave`: called with an exit
        code and the reason where a thread hangs; by default it ends the process.
        """
        self._leave = leave or end_process
        self._told_to_stop = told_to_stop
        self._progress = progress
        self._limit = limit
        self._faults = faults
        self._grace = grace
        self._alive = alive
        self._ended = threading.Event()
        self._looked_at = awake()
        self._stop_at: float | None = None
        self._hung_at: float | None = None
        self._told: dict[str, float] = {}
        self.hung = False
        """Something has stood still for longer than a notice: the worker must end, and join nothing."""

    def start(self) -> None:
        """Look from now on, until `close`."""
        threading.Thread(target=self._run, name="outbox-watchdog", daemon=True).start()

    def close(self) -> None:
        """The worker has shut down cleanly."""
        self._ended.set()

    def stopping(self) -> None:
        """The worker is about to stop: the grace period begins, if it has not yet."""
        if self._stop_at is None:
            self._stop_at = awake()

    def wrong(self) -> str | None:
        """What hangs; None while everything gets on."""
        return self._progress.stuck(self._limit) or self._faults()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            now = awake()
            if (gap := now - self._looked_at) > _JUMP_SECONDS:
                self._progress.excuse(gap)
            self._looked_at = now
            self._alive()
            self._watch(now)
            if self._told_to_stop():
                self.stopping()
            if self._stop_at is not None and now - self._stop_at > self._grace + STOP_SECONDS:
                self._give_up(f"stopping takes too long: {self._hanging()}; the process exits, other workers take over")

    def _watch(self, now: float) -> None:
        self._mention_slow(now)
        wrong = self.wrong()
        if wrong is None and not self.hung:
            self._hung_at = None
            return
        if self._hung_at is None:
            self._hung_at = now
        if now - self._hung_at > NOTICE_SECONDS + LEAVE_SECONDS:
            self._give_up(f"{wrong or self._hanging()}; the process exits so that it can be restarted")
        if now - self._hung_at > NOTICE_SECONDS:
            self.hung = True

    def _give_up(self, reason: str) -> None:
        self._ended.set()  # in a web server's process it goes on
        self._leave(1, reason)

    def _mention_slow(self, now: float) -> None:
        slow = [step for step in self._progress.underway() if step.seconds > min(_SLOW_SECONDS, self._limit / 2)]
        self._told = {what: at for what, at in self._told.items() if any(step.what == what for step in slow)}
        for step in slow:
            if now - self._told.get(step.what, -_AGAIN_SECONDS) >= _AGAIN_SECONDS:
                self._told[step.what] = now
                _aside(partial(logger.warning, "%s has made no progress for %.0f s", *step))

    def _hanging(self) -> str:
        return ", ".join(f"{step.what} for {step.seconds:.0f} s" for step in self._progress.underway()) or "a thread"


def end_process(code: int, reason: str | None = None) -> None:
    """Ends the process now, without waiting for any thread. The log has a moment for what is still to be written."""

    def last_words() -> None:
        if reason is not None:
            logger.error("%s", reason)
        logging.shutdown()

    _aside(last_words).join(_LAST_WORDS_SECONDS)
    os._exit(code)


def _aside(say: Callable[[], None]) -> threading.Thread:
    """In a thread of its own: the log may be what hangs."""
    speaker = threading.Thread(target=say, name="outbox-last-words", daemon=True)
    speaker.start()
    return speaker
