"""Which throttles are evidence of a rate that is too high."""

from __future__ import annotations

from outbox.delivery.evidence import Offer
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict
from outbox.delivery.throttling import Throttles

REPLY = Reply(454, "4.7.0", "Throttling failure: Maximum sending rate exceeded.")
THROTTLE = Result(Verdict.TRANSPORT, Phase.DOT, REPLY, 0.0, about=About.ACCOUNT)


def offer(delivery: int) -> Offer:
    return Offer(delivery, "app@example.org", f"r{delivery}@example.org", 0.0)


def counts(*deliveries: int) -> list[bool]:
    """Whether each refusal is evidence, a second after the one before, while other mail passes."""
    throttles, found = Throttles(), []
    for now, delivery in enumerate(deliveries):
        throttles.accepted(offer(100 + now), float(now))
        scope = throttles.throttled(offer(delivery), THROTTLE, now + 0.5, {""})
        assert scope is not None
        found.append(scope[1])
    return found


def test_one_delivery_that_is_refused_again_is_no_evidence() -> None:
    assert counts(1, 1, 1, 1) == [True, False, False, False]


def test_it_is_where_others_are_refused_too() -> None:
    """At a rate that is a little too high one in six is refused, and a second attempt comes as regularly."""
    assert counts(1, 2, 1, 2, 1) == [True] * 5


def test_a_worker_that_begins_goes_by_what_others_know() -> None:
    """Nothing of its own has been accepted yet: where the others' mail goes at a lower rate, so does its own."""
    assert Throttles().throttled(offer(1), THROTTLE, 0.0, {""}) == ("", True)
    assert Throttles().throttled(offer(1), THROTTLE, 0.0, ()) is None
