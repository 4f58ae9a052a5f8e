"""A relay that says what a test wants: outcomes by recipient or one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from outbox.delivery.reply import Phase, Reply, Result, Verdict, parse_reply, relay_id, retry_after
from outbox.delivery.states import State
from outbox.delivery.verdicts import Failure, judge_failure, judge_reply

ACCEPT = "250 2.0.0 taken"
LOST = "lost"
"""The connection is lost after the final dot: nobody can know whether the relay took the mail."""
DOWN = "down"
"""The relay can't be reached."""

Script = str | Iterable[str] | Mapping[str, str | Iterable[str]] | None
"""One outcome for all; or one after the other, then accepted; or either by recipient, all others accepted.

An outcome is ACCEPT, LOST, DOWN, or the relay's reply to the final dot: "451 4.3.0 busy, try again in 5 minutes"."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one delivery."""

    recipient: str
    subject: str
    message_id: str
    verdict: Verdict | None  # None: not offered to the relay (expired, for instance)
    state: State  # the delivery's, after it
    reason: str | None  # `outbox.delivery.retry.Reason`
    delay: float | None  # seconds until the next try


class Relay:
    """Answers by a script."""

    name = "relay.test:25"

    def __init__(self, script: Script) -> None:
        """Raises ValueError for an invalid outcome."""
        self._by_recipient: dict[str, Iterator[str]] = {}
        self._all: Iterator[str] = iter(())
        if isinstance(script, Mapping):
            self._by_recipient = {recipient: _turns(outcomes) for recipient, outcomes in script.items()}
        else:
            self._all = _turns(script)

    def answer(self, recipient: str) -> Result:
        """What comes of offering a mail to `recipient`."""
        outcome = next(self._by_recipient.get(recipient, self._all), ACCEPT)
        if outcome == DOWN:
            words = Reply(None, None, "connection refused")
            return Result(judge_failure(Phase.CONNECT, Failure.UNREACHABLE).verdict, Phase.CONNECT, words, 0.0)
        if outcome == LOST:
            words = Reply(None, None, "connection lost")
            return Result(judge_failure(Phase.DOT, Failure.DISCONNECTED).verdict, Phase.DOT, words, 0.0)
        code, _, text = outcome.partition(" ")
        if len(code) != 3 or not code.isdecimal() or code[0] not in "245":
            raise ValueError(
                f"{outcome!r} is not an outcome: give ACCEPT, LOST, DOWN, or a reply like '550 5.1.1 unknown'"
            )
        reply = parse_reply(int(code), text.encode())
        judgement = judge_reply(Phase.DOT, reply)
        accepted = judgement.verdict is Verdict.ACCEPTED
        return Result(
            judgement.verdict,
            Phase.DOT,
            reply,
            0.0,
            relay_id=relay_id(reply) if accepted else None,
            retry_after=None if accepted else retry_after(reply),
            note=judgement.note,
            about=judgement.about,
        )


def _turns(outcomes: str | Iterable[str] | None) -> Iterator[str]:
    if outcomes is None:
        return
    if isinstance(outcomes, str):
        while True:
            yield outcomes
    yield from outcomes
