"""An automatic pause in words: whom the relay refuses, in its own words, what to do, and what happens next. Pure."""

from __future__ import annotations

import re
import shlex
from datetime import datetime

from outbox.delivery.hints import hint_for
from outbox.delivery.reply import Phase
from outbox.operations.times import sentence, spelled
from outbox.settings.transport_options import in_its_words
from outbox.store.pauses import Pause, What

_CODE = re.compile(r"[2-5]\d\d\b")


def who_paused(pause: Pause) -> str:
    """Who set it."""
    return "the outbox itself" if pause.automatic else pause.by


def stopped(pause: Pause, now: datetime, name: str | None = None) -> str:
    """All of it, in a few sentences. `name`: of the pause, if it has another here."""
    found = [
        f"{name or pause}, for {spelled((now - pause.since).total_seconds())}: {refusal(pause)}",
        remedy(pause),
        f"Then `outbox-resume --{pause.what} {shlex.quote(pause.name)}` resumes its mail;",
        probe(pause, now),
    ]
    return " ".join(found)


def refusal(pause: Pause) -> str:
    """What the relay refuses, in its own words."""
    relay = pause.transport or "the relay"
    of = "this sender" if pause.what is What.SENDER else "mail to this domain"
    return sentence(f"{relay} refuses {of} while it takes other mail: {pause.reply or 'its words are not known'}")


def remedy(pause: Pause) -> str:
    """What to do about it."""
    if pause.what is not What.SENDER:
        return "Ask the relay's provider why it takes no mail for this domain."
    reply = pause.reply or ""
    code = _CODE.match(reply)
    known = hint_for(Phase.MAIL, int(code[0]) if code else None, reply)
    if known is None:
        return "Ask for this address to be allowed there, or send from one that is."
    return in_its_words(known, pause.transport)


def probe(pause: Pause, now: datetime) -> str:
    """When the outbox finds out by itself whether it is over."""
    if pause.probe_at is None or pause.probe_at <= now:
        return "one message is tried again next."
    wait = spelled((pause.probe_at - now).total_seconds())
    return f"one message is tried again in {wait}, at {pause.probe_at:%H:%M} UTC."
