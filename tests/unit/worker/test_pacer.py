"""A worker's permits, without a database."""

from __future__ import annotations

from typing import Any, cast

from outbox.delivery.rate_limits import parse
from outbox.store.rates import Grant, Rates
from outbox.worker.pacer import Pacer


class Source:
    """Gives out all that is asked for."""

    now = 100.0

    def reserve(self, _what: str, _value: str, _limits: object, wanted: int, **_options: Any) -> Grant:
        return Grant(wanted, began=self.now, ended=self.now)

    def give_back(self, *_arguments: Any, **_options: Any) -> None:
        pass


def test_permits_that_lapse_while_the_window_is_full_are_reserved_anew() -> None:
    """A relay that stood still: what waits would have no permit, and there is no room to claim for."""
    source = Source()
    now = source.now
    pacer = Pacer(cast("Rates", source), "relay", parse("100/s"), lambda: source.now)
    assert pacer.permitted(64, 0, True, lambda: True) == 64
    assert not pacer.lacks(64)
    source.now = now = now + 10
    assert pacer.take(now) is None
    assert pacer.lacks(64)
    assert pacer.permitted(0, 64, True, lambda: True) == 0
    assert pacer.take(now) is not None
