"""What came of an attempt, as a value: a reply of the relay, or our words where there was none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from outbox.core.loggers import get_logger
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict, parse_reply, printable, relay_id, retry_after
from outbox.delivery.reply_rule import Rule
from outbox.delivery.verdicts import Failure, Judgement, judge_reply
from outbox.smtp.broken import Broken
from outbox.smtp.session import Answer
from outbox.smtp.turn import STALE

log = get_logger("outbox.transport")

T = TypeVar("T")

_SELF_EVIDENT = frozenset(Failure) - STALE  # the text says by itself where it happened
_WHERE = {
    Phase.RESOLVE: "resolving the relay's name",
    Phase.CONNECT: "connecting",
    Phase.GREETING: "waiting for the greeting",
    Phase.EHLO: "EHLO",
    Phase.TLS: "starting TLS",
    Phase.AUTH: "logging in",
    Phase.MAIL: "MAIL FROM",
    Phase.RCPT: "RCPT TO",
    Phase.DATA: "DATA",
    Phase.BODY: "sending the content",
    Phase.DOT: "waiting for the reply to the final dot",
}


def judged(answer: Answer, preset: str, taught: Sequence[Rule], *, fresh: bool) -> tuple[Reply, Judgement]:
    """The reply, and what it means; `fresh`: to the first message of a session."""
    reply = parse_reply(answer.code, answer.text)
    judgement = judge_reply(answer.phase, reply, preset, taught)
    if fresh and judgement.about is About.SESSION:  # the first message of a session is not too many for it
        judgement = judge_reply(answer.phase, replace(reply, text=""), preset, taught)
    return reply, judgement


def of_reply(
    phase: Phase, reply: Reply, judgement: Judgement, duration: float, *, reusable: bool, relay: str
) -> Result:
    """With what the relay's words say besides."""
    accepted = judgement.verdict is Verdict.ACCEPTED
    return Result(
        judgement.verdict,
        phase,
        reply,
        duration,
        relay_id=_read(relay_id, reply, relay) if accepted else None,
        retry_after=None if accepted else _read(retry_after, reply, relay),
        reusable=reusable,
        note=judgement.note,
        about=judgement.about,
    )


def without_reply(phase: Phase, judgement: Judgement, text: str, duration: float, *, reusable: bool) -> Result:
    """With our own words."""
    return Result(
        judgement.verdict,
        phase,
        Reply(None, None, printable(text)),
        duration,
        reusable=reusable,
        note=judgement.note,
        about=judgement.about,
    )


def told(broken: Broken, phase: Phase) -> str:
    """What broke, and where if the words don't say it."""
    return broken.text if broken.failure in _SELF_EVIDENT else f"{broken.text} ({_WHERE[phase]})"


def _read(look: Callable[[Reply], T | None], reply: Reply, relay: str) -> T | None:
    """What the words say beside the verdict. Words that we cannot read change nothing about that."""
    try:
        return look(reply)
    except Exception:
        log.exception("%s: the reply %r can't be read", relay, str(reply))
        return None
