"""Carries out what rulings ask of the database, on the thread that claims, so that no connection waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from outbox.core.events import EventName, Events, logger
from outbox.delivery.blame import Ruling
from outbox.delivery.breaker import IN_TRANSACTION
from outbox.delivery.comparisons import Comparisons
from outbox.delivery.evidence import Blamed, Offer
from outbox.delivery.reply import About, Result, Verdict
from outbox.store.held import Held
from outbox.store.pauses import What
from outbox.store.rulings import Rulings

_WHAT = {About.SENDER: What.SENDER, About.DOMAIN: What.DOMAIN}


class Consequences:
    """What is still to be done about the outcomes so far.

    `note` is thread-safe; the rest belongs to the thread that claims.
    """

    def __init__(self, rulings: Rulings, events: Events, *, transport: str, delay: float) -> None:
        """`delay`: seconds after which what is taken back is due again."""
        self._rulings = rulings
        self._events = events
        self._transport = transport
        self._delay = delay
        self._wanted: deque[Callable[[], None]] = deque()
        self._unwritten: deque[Callable[[], None]] = deque()
        self._paused: set[tuple[What, str]] = set()  # by rulings here, which `held` may not show yet
        self.comparisons = Comparisons()
        self.held = Held()
        """The pauses in force, as the worker last read them."""

    def note(self, ruling: Ruling, offer: Offer, result: Result) -> bool:
        """Remember what follows from an outcome. Whether there is something to do."""
        held = self.held
        if result.verdict is Verdict.ACCEPTED and not (
            ruling.blamed or ruling.take_back or self._paused or held.refused_senders or held.refused_domains
        ):
            return False
        before = len(self._wanted) + len(self._unwritten)
        for blamed in ruling.blamed:
            if blamed.scope.about is About.DOMAIN:
                for sender in blamed.others:
                    self.comparisons.refused(blamed.scope.value, sender)
            self._paused.add((_WHAT[blamed.scope.about], blamed.scope.value))
            self._wanted.append(lambda blamed=blamed: self._pause(blamed))  # type: ignore[misc]
        if ruling.take_back and result.reply.code is not None:
            self._unwritten.append(lambda: self._take_back(ruling.take_back, result))
        if result.verdict is Verdict.ACCEPTED:
            if offer.sender in self.held.refused_senders or (What.SENDER, offer.sender) in self._paused:
                self._wanted.append(lambda: self.release(What.SENDER, offer.sender))
            if offer.domain in self.held.refused_domains or (What.DOMAIN, offer.domain) in self._paused:
                self._wanted.append(lambda: self.release(What.DOMAIN, offer.domain))
        elif offer.domain in self.held.refused_domains and _is_compared(result):
            self.comparisons.refused(offer.domain, offer.sender)
        return len(self._wanted) + len(self._unwritten) > before

    @property
    def pending(self) -> bool:
        """Whether something is to be done."""
        return bool(self._wanted or self._unwritten)

    def carry_out(self, written: Callable[[], bool]) -> None:
        """Do all that was noted. What fails stays to be done, behind the rest, and the error is raised.

        `written`: whether the outcomes so far are recorded, which refusals must be before they are taken back.
        """
        failed: Exception | None = None
        for wanted in (self._wanted, self._unwritten):
            for _ in range(len(wanted)):
                if wanted is self._unwritten and not written():
                    break
                try:
                    wanted[0]()
                except Exception as error:  # noqa: BLE001 - one that can't be written keeps back no other
                    failed = error
                    wanted.rotate(-1)
                else:
                    wanted.popleft()
        if failed is not None:
            raise failed

    def _pause(self, blamed: Blamed) -> None:
        what, value = _WHAT[blamed.scope.about], blamed.scope.value
        reason = f"{self._transport} refuses this {what} while it takes other mail"
        if self._rulings.pause(what, value, reason=reason, reply=blamed.reply):
            self._hold(what, value)
            logger.warning("%s %s is paused: %s answers: %s", what, value, self._transport, blamed.reply)
            self._events.emit(
                EventName.SCOPE_PAUSED, what=what, value=value, transport=self._transport, reply=blamed.reply
            )

    def _hold(self, what: What, value: str) -> None:
        """At once: what was just released would be offered to the same transport again, and not to the next."""
        if what is What.SENDER:
            self.held = replace(self.held, refused_senders=self.held.refused_senders | {value})
        else:
            self.held = replace(self.held, refused_domains=self.held.refused_domains | {value})

    def release(self, what: What, value: str) -> None:
        """Lift an automatic pause. On the thread that claims."""
        if self._rulings.release(what, value):
            self._events.emit(EventName.SCOPE_RELEASED, what=what, value=value, transport=self._transport)
        self._paused.discard((what, value))

    def _take_back(self, ids: tuple[int, ...], result: Result) -> None:
        code = result.reply.code
        assert code is not None  # noqa: S101 - `note` has looked
        count = self._rulings.take_back(ids, phase=result.phase, code=code, delay=self._delay)
        self._events.emit(EventName.TAKEN_BACK, count=count, transport=self._transport, phase=result.phase, code=code)


def _is_compared(result: Result) -> bool:
    """Whether a refusal may be for the sender's or the domain's sake."""
    return result.phase in IN_TRANSACTION and result.about not in {About.SESSION, About.CONNECTIONS}
