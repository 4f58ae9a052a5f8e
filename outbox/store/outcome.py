"""What became of a claimed delivery, on its way to the database."""

from __future__ import annotations

from dataclasses import replace

from outbox.core.value import value
from outbox.delivery.reply import About, Phase, Result
from outbox.delivery.retry import Decision
from outbox.delivery.states import State
from outbox.store.claimed import Claimed

UNSTORABLE = "(the reply holds text that the database can't store)"


@value(frozen=True, slots=True)
class Outcome:
    """What is to be recorded of one claimed delivery."""

    claimed: Claimed
    state: State
    delay: float | None  # seconds until due again; None with QUEUED: due as it was before the claim
    counted: bool  # costs an attempt
    suspected: bool  # adds to `rescues`
    reason: str | None
    note: str | None
    result: Result | None  # None: released without an attempt
    transport: str | None = None
    about: About | None = None  # what the failure was about
    deferred: bool = False  # adds to `deferrals`

    @classmethod
    def of(
        cls, claimed: Claimed, decision: Decision, result: Result, transport: str, about: About | None = None
    ) -> Outcome:
        """What was decided after an attempt; it names `transport` if the attempt got as far as the network."""
        return cls(
            claimed=claimed,
            state=decision.state,
            delay=decision.delay,
            counted=decision.counted,
            suspected=decision.suspected,
            deferred=decision.deferred,
            reason=decision.reason,
            note=decision.note or result.note,
            result=result,
            transport=None if result.phase is Phase.LOCAL else transport,
            about=about,
        )

    @classmethod
    def released(cls, claimed: Claimed) -> Outcome:
        """Released without an attempt, due as it was before."""
        return cls(
            claimed,
            State.QUEUED,
            None,
            counted=False,
            suspected=False,
            reason=None,
            note=None,
            result=None,
        )

    def under(self, claimed: Claimed) -> Outcome:
        """The same, of a delivery that was claimed a second time before this was recorded."""
        return replace(self, claimed=claimed)

    def without_words(self) -> Outcome | None:
        """The same without what the server said; None where it said nothing."""
        if self.result is None:
            return None
        plain = replace(self.result, reply=replace(self.result.reply, text=UNSTORABLE), relay_id=None)
        return None if plain == self.result else replace(self, result=plain)
