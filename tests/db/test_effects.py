"""What handlers and webhooks are still to do, the same on every database."""

from __future__ import annotations

import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxDelivery, OutboxEffect, OutboxMessage
from outbox.operations.effects import Chosen
from outbox.store.effect_queue import EffectQueue
from outbox.store.types import DbNow
from tests.db.mails import put

NAME = "webhook:crm"


def waiting(engine: sa.Engine, environment: str, delivery: int = 1) -> None:
    values = {"environment": environment, "name": NAME, "type": "sent", "delivery_id": delivery, "due_at": DbNow(-1)}
    values |= {"effect_key": f"{environment}{delivery}", "created_at": DbNow(-60)}
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxEffect).values(values))


def test_one_that_is_disabled_is_so_in_its_environment(engine: sa.Engine) -> None:
    """Two environments of one database may have a webhook of the same name: each is disabled and called again alone."""
    live, staging = EffectQueue(engine, ""), EffectQueue(engine, "staging")
    for environment in ("", "staging"):
        waiting(engine, environment)
    staging.disable(NAME, "410")
    assert (live.look([NAME]), staging.look([NAME])) == ([NAME], [])
    assert staging.claim(NAME, 5, 10.0) == []
    live.disable(NAME, "410")
    assert live.look([NAME]) == []
    with engine.begin() as connection:
        operations.effects.run_again(connection, Chosen("", NAME), by="ann")
    assert (live.look([NAME]), staging.look([NAME])) == ([NAME], [])


def test_drop_and_again_leave_other_environments_alone(engine: sa.Engine) -> None:
    """By name, and written into the history."""
    for environment in ("", "staging"):
        waiting(engine, environment)
    with engine.begin() as connection:
        assert operations.effects.drop(connection, Chosen("", NAME), by="ann") == 1
        assert [one.name for one in operations.effects.listed(connection, Chosen("staging"), 9)] == [NAME]
        entry = operations.audit.recent(connection, 1)[0]
    assert (entry.action, entry.by, entry.count) == ("drop-effects", "ann", 1)


def test_an_effect_outlives_its_message_but_tells_nothing(engine: sa.Engine) -> None:
    """Of a purged message nothing is left to tell: whoever takes the effect gets no event, and removes it."""
    (id_,) = put(engine, state=State.SENT)
    waiting(engine, "", id_)
    queue = EffectQueue(engine, "")
    (taken,) = queue.claim(NAME, 5, 0.0)
    assert taken.event is not None
    queue.give_back([taken])
    with engine.begin() as connection:
        connection.execute(sa.delete(OutboxDelivery))
        connection.execute(sa.delete(OutboxMessage))
    (taken,) = queue.claim(NAME, 5, 10.0)
    assert taken.event is None


def test_figures_of_effects(engine: sa.Engine) -> None:
    """How many, and for how long the oldest has waited."""
    waiting(engine, "")
    with engine.connect() as connection:
        seen = operations.gauges(connection, dead_after=20.0)
    assert seen.effects[NAME, "waiting"] == 1
    assert 55 < seen.oldest_effect[NAME] < 3_600
