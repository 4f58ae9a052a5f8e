"""Servers that do one random thing after another: whatever they do, what is reported is what can be known."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from outbox.delivery.reply import Phase, Result, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from tests.wire.actions import (
    CLOSE,
    GARBAGE,
    RESET,
    SILENCE,
    Action,
    After,
    Both,
    Choice,
    Drip,
    Endless,
    Raw,
    Take,
    turns,
)
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[[Relay], Connection]

EXAMPLES = int(os.environ.get("OUTBOX_EXAMPLES", "24"))
"""How many servers; the first of them are always the same."""
MAILS = 6
BAD: tuple[Action, ...] = (
    CLOSE,
    RESET,
    GARBAGE,
    SILENCE,
    Raw(b""),
    Raw(b"4"),
    Raw(b"421-\r\n"),
    Raw(b"550 5.1.1 no\r\n550 5.1.1 once more\r\n"),
    Both("421 4.3.2 closing", CLOSE),
    Both("450 4.2.0 later", RESET),
    Endless(b"250-x\r\n"),
    Drip("250 slowly", 0.03),
    "354 go ahead",
    "421 4.7.0 later",
    "450 4.2.0 later",
    "451 5.7.1 disagreeing",
    "500",
    "530 5.7.0 log in",
    "550 5.1.1 no",
    "550 5.4.5 Daily user sending limit exceeded",
    "554 never",
)
STEPS = ("greeting", "ehlo", "starttls", "handshake", "mail", "rcpt", "data", "rset", "quit")


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_what_is_reported_is_what_can_be_known(seed: int, connect: Connect) -> None:
    """Accepted: the server has it once. Anything else but unknown: it does not. In time, and nothing raised."""
    chance = random.Random(seed)
    tls = chance.choice([None, None, "starttls"])
    extensions = chance.choice([(), ("PIPELINING",), ("PIPELINING", "SIZE 1000000")])
    names = [f"r{number}@example.net" for number in range(MAILS)]
    results: dict[str, Result] = {}
    with SmtpServer(script(chance), tls=tls, extensions=extensions) as server:
        connection = connect(server.relay(send_timeout=0.6, dot_timeout=0.3, command_timeout=0.15))
        for name in names:
            started = time.monotonic()
            results[name] = connection.deliver(envelope(name), CONTENT)
            assert time.monotonic() - started < 0.6 + 0.3 + 15
        connection.close()
        taken = Counter(mail.rcpt for mail in server.messages)
        assert all(mail.content == CONTENT for mail in server.messages)
    for name, result in results.items():
        if result.verdict is Verdict.ACCEPTED:
            assert (taken[name], result.phase) == (1, Phase.DOT)
        elif result.verdict is Verdict.UNKNOWN:
            assert result.phase is Phase.DOT
        else:
            assert taken[name] == 0, result
    assert set(taken) <= set(names)


def script(chance: random.Random) -> dict[str, Choice]:
    """At each step the usual, or for a while one bad thing after another."""
    found: dict[str, Choice] = {}
    for step in STEPS:
        if chance.random() < 0.5:
            found[step] = turns(*[chance.choice(BAD) if chance.random() < 0.4 else None for _ in range(MAILS)])
    dots = [chance.choice([None, None, Take(chance.choice(BAD)), chance.choice(BAD)]) for _ in range(MAILS)]
    found["dot"] = turns(*[honest(dot) for dot in dots])
    if chance.random() < 0.2:
        found["body"] = turns(After(chance.randrange(80), chance.choice([CLOSE, RESET, SILENCE])))
    return found


def honest(action: Action | None) -> Action | None:
    """A 250 is only said for a mail that was taken, and a refusal only for one that was not."""
    match action:
        case Drip() | Take(Drip()):
            return Take(Drip("250 slowly", 0.005))
        case Take(str() as reply) | Take(Both(str() as reply, _)) if reply[0] in "45":
            return reply
        case Take(Raw(data)) if data[:1] == b"5":
            return CLOSE
        case _:
            return action
