"""How many connections a relay admits at once, learnt from its replies."""

from __future__ import annotations

import pytest

from outbox.delivery.admission import FIRST_WAIT, LONGEST_WAIT, Admission, is_turned_away
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict


def result(verdict: Verdict, phase: Phase, code: int | None, about: About | None = None) -> Result:
    """A result with the parts that are looked at."""
    return Result(verdict, phase, Reply(code, None, "text"), 0.1, about=about)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (result(Verdict.TRANSPORT, Phase.GREETING, 421), True),
        (result(Verdict.TRANSPORT, Phase.EHLO, 450), True),
        (result(Verdict.TRANSPORT, Phase.DOT, 432), True),
        (result(Verdict.TRANSPORT, Phase.MAIL, 451, About.CONNECTIONS), True),
        (result(Verdict.TRANSPORT, Phase.GREETING, 554), False),
        (result(Verdict.TRANSPORT, Phase.GREETING, None), False),
        (result(Verdict.TRANSPORT, Phase.CONNECT, None), False),
        (result(Verdict.TRANSPORT, Phase.MAIL, 421), False),
        (result(Verdict.TRANSIENT, Phase.RCPT, 450, About.CONNECTIONS), False),
        (result(Verdict.CONFIGURATION, Phase.GREETING, 421), False),
        (result(Verdict.ACCEPTED, Phase.DOT, 250), False),
    ],
)
def test_what_may_mean_no_more_connections(said: Result, expected: bool) -> None:
    """A 4xx at the door, a 432 or words to that effect; not what the relay says of other things."""
    assert is_turned_away(said) is expected


def test_all_may_connect_until_one_is_turned_away() -> None:
    """Then as many as work, and the words are kept."""
    admission = Admission(8)
    assert (admission.now(0), admission.reply) == (8, None)
    admission.turned_away(3, "421 too many", 0)
    assert (admission.now(0), admission.reply) == (3, "421 too many")


def test_each_refusal_lowers_the_limit_by_one_at_least() -> None:
    """Seven may have worked when the eighth was refused, or at another moment; one stays in any case."""
    admission = Admission(4)
    for expected in (3, 2, 1, 1):
        admission.turned_away(7, "421", 0)
        assert admission.now(0) == expected


def test_one_more_is_tried_after_a_quiet_time() -> None:
    """One at a time, counted from the last refusal; with all back, nothing is left of it."""
    admission = Admission(4)
    admission.turned_away(2, "421", 0)
    admission.turned_away(2, "421", 10)
    assert admission.limit == 1
    assert admission.now(9 + FIRST_WAIT) == 1
    assert admission.now(10 + FIRST_WAIT) == 2
    assert admission.now(10 + FIRST_WAIT) == 2
    assert admission.now(10 + 2 * FIRST_WAIT) == 3
    assert admission.reply == "421"
    assert admission.now(10 + 3 * FIRST_WAIT) == 4
    assert admission.reply is None
    assert admission.now(10 + 9 * FIRST_WAIT) == 4


def test_a_limit_that_stands_is_tried_less_and_less_often() -> None:
    """Twice the wait each time that one more is refused, up to the longest."""
    admission, now, waits = Admission(4), 0.0, []
    admission.turned_away(2, "421", now)
    for _ in range(10):
        began = now
        while admission.now(now) == 2:
            now += 1
        waits.append(now - began)
        admission.turned_away(2, "421", now)
    assert waits == [FIRST_WAIT * 2**n for n in range(8)] + [LONGEST_WAIT] * 2


def test_refusals_at_one_moment_are_one_limit() -> None:
    """Several connections that were opened together don't lengthen the wait."""
    admission = Admission(8)
    for _ in range(5):
        admission.turned_away(3, "421", 0)
    assert admission.now(FIRST_WAIT - 1) == 1
    assert admission.now(FIRST_WAIT) == 2
    for _ in range(5):
        admission.turned_away(3, "421", FIRST_WAIT)
    assert admission.now(3 * FIRST_WAIT - 1) == 1
    assert admission.now(3 * FIRST_WAIT) == 2


def test_with_all_back_the_waits_begin_anew() -> None:
    """A limit that was lifted is another one when it comes again."""
    admission = Admission(3)
    admission.turned_away(1, "421", 0)
    assert admission.now(3) == 2
    admission.turned_away(1, "421", 3)
    assert [admission.now(now) for now in (8, 9, 14, 15)] == [1, 2, 2, 3]
    admission.turned_away(2, "421", 15)
    assert [admission.now(now) for now in (20, 21)] == [2, 3]


def test_a_relay_that_was_down_is_asked_anew() -> None:
    """What it admitted before says nothing about now."""
    admission = Admission(4)
    admission.turned_away(1, "421", 0)
    admission.forget()
    assert (admission.now(0), admission.reply) == (4, None)
