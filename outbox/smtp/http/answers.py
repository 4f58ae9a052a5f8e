"""From an answer over HTTP, or a connection that broke, to the result of an attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from outbox.delivery.http_rules import HttpRule, http_rule
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict
from outbox.delivery.reply_rule import Rule
from outbox.delivery.retry import believed
from outbox.delivery.verdicts import judge_failure
from outbox.smtp.broken import Broken
from outbox.smtp.http.client import Answer
from outbox.smtp.results import told


def judged(
    answer: Answer, error: str, text: str, rules: Sequence[HttpRule], taught: Sequence[Rule], now: datetime
) -> Result:
    """What an answer means that is no success. `taught`: the rules of the configuration, which go first."""
    words = ": ".join(part for part in (error, text) if part) or f"HTTP status {answer.status}"
    reply = Reply(answer.status, None, words)
    rule = http_rule(answer.status, error, text, rules)
    wait = retry_after(answer.headers, now)
    result = Result(rule.verdict, rule.phase, reply, 0.0, retry_after=wait, note=rule.note, about=rule.about)
    own = next((one for one in taught if one.fits(Phase.DOT, reply)), None)
    if own is not None and own.verdict is not None:
        result = replace(result, verdict=own.verdict, phase=Phase.DOT, note=own.note, about=own.about)
    if result.verdict is Verdict.TRANSPORT and result.about is About.RELAY and wait is not None:
        return replace(result, about=About.ACCOUNT)  # it says when, which the circuit breaker goes by
    return result


def of_broken(broken: Broken, phase: Phase) -> Result:
    """What a failure means: once the whole request was handed over, nobody can know."""
    judgement = judge_failure(phase, broken.failure)
    words = told(broken, phase).replace("waiting for the reply to the final dot", "waiting for the answer")
    return Result(judgement.verdict, phase, Reply(None, None, words), 0.0, about=judgement.about)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by the field Retry-After, in either form (RFC 9110 §10.2.3), a day at most."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (TypeError, ValueError):
            return None
    return believed(seconds)


def json_of(body: bytes) -> Mapping[str, Any]:
    """The object in an answer; an empty one where there is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
