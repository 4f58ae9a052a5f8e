"""The state machine: every pair of states, and that the database's constraint says the same."""

from __future__ import annotations

import itertools

import pytest

from outbox.delivery.retry import Decision
from outbox.delivery.states import EDGES, FINAL, LIVE, Lane, State, may, sources
from outbox.models import OutboxDelivery, table_of

PICTURE = """
queued -> sending cancelled uncertain
sending -> sending queued sent failed uncertain cancelled
sent ->
failed -> queued sent cancelled
uncertain -> queued sent
cancelled -> queued
"""


@pytest.mark.parametrize(("source", "target"), list(itertools.product(State, State)))
def test_every_pair_is_as_the_picture_shows(source: State, target: State) -> None:
    """The edges in the code are the edges of the picture, no more and no fewer."""
    drawn = dict(line.split("->") for line in PICTURE.strip().splitlines())
    allowed = next(targets.split() for name, targets in drawn.items() if name.strip() == source)
    assert may(source, target) == (target in allowed)


def test_sent_is_the_end() -> None:
    """Nothing leaves `sent`: a mail that arrived can't be sent again by the outbox."""
    assert not any(source is State.SENT for source, _ in EDGES)


def test_what_was_suppressed_is_not_the_end() -> None:
    """MAIL_SUPPRESS_SEND records as sent what nobody got: that alone can be requeued."""
    assert may(State.SENT, State.QUEUED, suppressed=True)
    assert State.SENT in sources(State.QUEUED, suppressed=True)
    assert not may(State.SENT, State.CANCELLED, suppressed=True)


def test_sources_are_the_edges_read_backwards() -> None:
    """`sources` is what a conditional update may start from."""
    assert sources(State.QUEUED) == (State.SENDING, State.FAILED, State.UNCERTAIN, State.CANCELLED)


def test_a_claim_takes_what_the_edges_say() -> None:
    """The claims look at what has a due time, which is what is live; a claim leads to `sending` from there alone."""
    assert set(sources(State.SENDING)) == LIVE


@pytest.mark.parametrize("state", State)
def test_an_attempt_ends_along_an_edge(state: State) -> None:
    """What is to be recorded of an attempt is made by one value, which takes no other state."""
    if (State.SENDING, state) in EDGES:
        assert Decision(state, None).state is state
    else:
        with pytest.raises(ValueError, match=f"can't end in {state}"):
            Decision(state, None)


def test_live_and_final_part_the_states() -> None:
    """Each state is either live or final."""
    assert set(State) == LIVE | FINAL
    assert not LIVE & FINAL


def test_the_constraint_names_every_state() -> None:
    """The database refuses a state that the code does not know."""
    (check,) = [c for c in table_of(OutboxDelivery).constraints if c.name == "ck_outbox_delivery_state"]
    assert all(f"'{state}'" in str(check.sqltext) for state in State)  # type: ignore[attr-defined]


def test_slots_put_new_mail_before_retries_and_high_before_bulk() -> None:
    """Six index ranges, most important first."""
    slots = [lane.slot(retry=retry) for lane in Lane for retry in (False, True)]
    assert slots == [0, 1, 2, 3, 4, 5]
    assert [Lane.of_rank(lane.rank) for lane in Lane] == list(Lane)
