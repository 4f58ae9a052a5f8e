"""Handlers and webhooks, called about what was recorded: beside the sending, so that a slow one holds back no mail.

Each name has a lane of its own: a thread that takes what is due for it, while there is something. A call that takes too
long is given up: its connection is closed, so that what it does can't be committed any more, and its thread is left to
itself.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox.core.clock import Debounce, monotonic
from outbox.core.events import Event, EventName, first_line, logger
from outbox.delivery.happened import BatchEvent, Happened, MailEvent
from outbox.extension.state import Bound
from outbox.settings import Settings
from outbox.store.effect_queue import EffectQueue
from outbox.store.engines import with_own_pool
from outbox.store.leased_queue import Due, LeasedQueue
from outbox.worker.effect_calls import Call, Calls, Failed

if TYPE_CHECKING:
    import sqlalchemy as sa

BATCH = 10
"""At most so many are taken at once by one lane."""

LEFT_MOST = 3
"""So many calls of one name may hang at once; then it is called again when one of them returns."""

FIRST_SECONDS, MOST_SECONDS = 5.0, 14_400.0
"""Before the second call about the same thing, and at most between two."""

_LOOK_SECONDS = 0.02  # between two looks at calls that are about to end
_COMPLAINT_SECONDS = 60.0
_LEASE_MARGIN = 5.0
_WOKEN_BY = {EventName.SENT, EventName.FAILED, EventName.UNCERTAIN}


def delay(attempts: int, chance: float) -> float:
    """Seconds until the next call, after so many. `chance`: from 0 to 1, so that not all come at once."""
    return float(min(FIRST_SECONDS * 2 ** min(attempts - 1, 30), MOST_SECONDS)) * (0.5 + 0.5 * chance)


@dataclass(frozen=True, slots=True)
class Limits:
    """How often, how long, and how soon."""

    attempts: int
    seconds: float  # for one call
    poll: float  # seconds between two looks


class Lane:
    """What is under way for one name. The owner's lock guards it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.call: Call | None = None  # under way
        self.began = 0.0  # monotonic
        self.running = False
        self.left = 0  # calls that were given up and have not returned
        self.resume_at = 0.0  # monotonic: not called before
        self.failures = 0  # in a row, of what is called over the network


class Effects:
    """The lanes of one worker, the thread that looks for what is due, and the one that gives up what takes too long.

    These are two, since looking may wait for what such a call holds: on SQLite, the write lock.
    """

    def __init__(self, queue: LeasedQueue, names: Callable[[], Sequence[str]], calls: Calls, *, limits: Limits) -> None:
        """`names`: whom this worker knows."""
        self._queue = queue
        self._names = names
        self._calls = calls
        self._attempts, self._seconds, self._poll = limits.attempts, limits.seconds, limits.poll
        self._lanes: dict[str, Lane] = {}
        self._changed = threading.Condition()
        self._unwatched = True  # no call is under way, as far as the watch knows
        self._stopping = self._halted = self._closed = False
        self._news = threading.Event()
        self._is_wanted = False  # by anybody
        self._ended = threading.Event()  # never set
        self._complains = Debounce(_COMPLAINT_SECONDS).passes
        self._thread = threading.Thread(target=self._run, name="outbox-effects", daemon=True)
        self._watch = threading.Thread(target=self._watch_calls, name="outbox-effects-watch", daemon=True)

    def start(self) -> None:
        """Begin, where anybody is to be told."""
        if self._names():
            self._is_wanted = True
            self._thread.start()
            self._watch.start()

    def note(self, event: Event) -> None:
        """Look now: an outcome was recorded. For `Events.observe`."""
        if self._is_wanted and event.name in _WOKEN_BY and not self._news.is_set():
            self._news.set()

    def soon(self) -> None:
        """Look now. From any thread."""
        self._news.set()

    def finish(self, seconds: float, *, all: bool) -> None:
        """End; within `seconds` do `all` that is due, or else what is under way."""
        if not self._thread.is_alive():
            return
        end = monotonic() + seconds
        self._halted = not all
        self._stopping = True
        self._news.set()
        self._thread.join(max(0.0, end - monotonic()))
        self.leave()

    def leave(self) -> None:
        """End at once; what is under way is not committed unless that has begun."""
        self._stopping = self._halted = True
        self._news.set()
        with self._changed:
            for lane in self._lanes.values():
                self._leave(lane)
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        looked_at = 0.0
        while True:
            last = self._stopping  # the look after this was said is the last
            if not self._halted and (self._news.is_set() or last or monotonic() - looked_at >= self._poll):
                self._news.clear()
                looked_at = monotonic()
                self._look()
            if not last:
                if not self._stopping:
                    self._news.wait(self._poll)
            elif any(lane.running for lane in self._lanes.values()):
                self._ended.wait(_LOOK_SECONDS)
            else:
                return

    def _look(self) -> None:
        try:
            due = self._queue.look(list(self._names()))
        except Exception as error:  # noqa: BLE001 - the next look tries again
            if self._complains():
                logger.error("what handlers and webhooks are to do can't be read: %s", first_line(error))
            return
        with self._changed:
            for name in due:
                lane = self._lanes.setdefault(name, Lane(name))
                if not lane.running and lane.left < LEFT_MOST and monotonic() >= lane.resume_at:
                    lane.running = True
                    threading.Thread(target=self._work, args=(lane,), name="outbox-effect", daemon=True).start()

    def _work(self, lane: Lane) -> None:
        """In the lane's thread: all that is due for it."""
        try:
            while True:
                lease = 2 * self._seconds + _LEASE_MARGIN
                last = monotonic() + lease - self._seconds
                due = self._queue.claim(lane.name, BATCH, lease)
                if not due:
                    break
                for number, one in enumerate(due):
                    if self._halted or monotonic() >= last or monotonic() < lane.resume_at:
                        self._queue.give_back(due[number:])
                        break
                    if not self._one(lane, one):
                        return  # it was given up meanwhile, and the lane has another thread
                if self._halted or monotonic() < lane.resume_at:
                    break
        except Exception as error:  # noqa: BLE001 - the database's: the lease runs out, and the next look tries again
            if self._complains():
                logger.error("%s: what it is to do can't be read or written: %s", lane.name, first_line(error))
            lane.resume_at = monotonic() + self._poll
        with self._changed:
            lane.running = False

    def _one(self, lane: Lane, due: Due) -> bool:
        """Call it once; whether the thread may go on with the lane."""
        call = self._calls.prepare(lane.name, due, self._seconds)
        with self._changed:
            lane.call, lane.began = call, monotonic()
            if self._unwatched:
                self._changed.notify()
        failed = call.run()
        with self._changed:
            if lane.call is not call:
                lane.left -= 1
                return False
            lane.call = None
        self._settle(lane, due, failed)
        return True

    def _settle(self, lane: Lane, due: Due, failed: Failed | None) -> None:
        if failed is None:
            lane.failures = 0
            return
        if failed.for_all:  # the receiver does not answer: not everything else is to wait for that as well
            lane.failures += 1
            lane.resume_at = monotonic() + min(delay(lane.failures, random.random()), 300.0)  # noqa: S311
        if failed.disables:
            self._queue.disable(lane.name, failed.error)
        self._fail(lane.name, due, failed)

    def _fail(self, name: str, due: Due, failed: Failed) -> None:
        again = max(failed.wait, delay(due.attempts, random.random()))  # noqa: S311 - jitter, no secret
        last = (due.attempts >= self._attempts or failed.is_final) and not failed.disables
        self._queue.fail(due, failed.error, None if last else again)
        about = "-" if due.event is None else f"{_about(due.event)}: {due.event.type}"
        if last:
            logger.error("%s: %s failed %d times and is given up: %s", about, name, due.attempts, failed.error)
        else:
            logger.warning("%s: %s failed, and is called again in %.0f s: %s", about, name, again, failed.error)

    def _watch_calls(self) -> None:
        """Give up calls that take too long. Nothing here waits for the database."""
        with self._changed:
            while not self._closed:
                began = [lane.began for lane in self._lanes.values() if lane.call is not None]
                self._unwatched = not began
                self._changed.wait(max(_LOOK_SECONDS, min(began) + self._seconds - monotonic()) if began else None)
                for lane in self._lanes.values():
                    if lane.call is not None and monotonic() - lane.began > self._seconds:
                        self._leave(lane)

    def _leave(self, lane: Lane) -> None:
        """Give up the call of a lane, unless it is about to be committed."""
        call = lane.call
        if call is None or not call.abandon():
            return
        lane.call, lane.running = None, False
        lane.left += 1
        # in a thread of its own: it may wait for what another call holds, which is to be given up as well
        threading.Thread(target=self._end_call, args=(lane.name, call), name="outbox-effect-end", daemon=True).start()

    def _end_call(self, name: str, call: Call) -> None:
        try:
            call.cut()
            if self._stopping:  # it had less time than it may take
                self._queue.give_back([call.due])
                return
            self._fail(name, call.due, Failed(f"it did not return within {self._seconds:g} s (OUTBOX_HANDLER_SECONDS)"))
        except Exception as error:  # noqa: BLE001 - it is due again when its lease ends
            logger.error("%s: that it hangs can't be written: %s", name, first_line(error))


def _about(event: Happened) -> str | None:
    if isinstance(event, MailEvent):
        return event.message_id
    return f"batch {event.batch}" if isinstance(event, BatchEvent) else event.id


def of_application(engine: sa.Engine, settings: Settings, bound: Bound) -> Effects:
    """For the handlers and webhooks of an application, whatever is registered when they are called."""
    told = bound.listening
    engine = with_own_pool(engine)  # a call that hangs keeps its connection: the worker's others are not to wait for it
    return Effects(
        EffectQueue(engine, settings.environment),
        lambda: told.all,
        Calls(engine, told.handle, told.webhooks),
        limits=Limits(settings.handler_attempts, settings.handler_seconds, settings.poll_seconds),
    )
