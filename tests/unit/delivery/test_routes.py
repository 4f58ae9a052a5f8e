"""By which transports a delivery may go."""

from __future__ import annotations

import pytest

from outbox.delivery.routes import EVERY, Refused, Routes, Rule, Served
from outbox.delivery.states import Lane

NEWS = Rule((("bulk", 3.0), ("ses", 1.0)), kind="newsletter-*")
RULES = (NEWS, Rule((("ses", None), ("backup", None)), recipient_domain="*.example.org", priority=Lane.HIGH))
ROUTES = Routes(("ses", "backup", "bulk"), RULES)


@pytest.mark.parametrize(
    ("kind", "sender", "domain", "lane", "chance", "route"),
    [
        ("newsletter-7", "a@b.example", "x.example", Lane.BULK, 0.0, "bulk ses"),
        ("newsletter-7", "a@b.example", "x.example", Lane.BULK, 0.74, "bulk ses"),
        ("newsletter-7", "a@b.example", "x.example", Lane.BULK, 0.76, "ses bulk"),
        ("newsletter", "a@b.example", "x.example", Lane.BULK, 0.0, EVERY),
        (None, "a@b.example", "mx.EXAMPLE.org", Lane.HIGH, 0.0, "ses backup"),
        (None, "a@b.example", "mx.example.org", Lane.NORMAL, 0.0, EVERY),
        (None, "a@b.example", "example.org", Lane.HIGH, 0.0, EVERY),
    ],
)
def test_the_first_rule_that_fits(
    kind: str | None, sender: str, domain: str, lane: Lane, chance: float, route: str
) -> None:
    assert ROUTES.route(kind, sender, domain, lane, chance) == route
    assert route in ROUTES.known


def test_the_first_one_available_carries_a_route_and_those_out_of_use_keep_it_for_their_probes() -> None:
    def carried(*available: str) -> dict[str, set[str]]:
        served = ROUTES.served(available, {}, ROUTES.known)
        return {name: {route for route in one.routes if route not in ROUTES.order} for name, one in served.items()}

    assert carried("ses", "backup", "bulk") == {
        "ses": {EVERY, "ses bulk", "ses backup"},
        "backup": set(),
        "bulk": {"bulk ses"},
    }
    assert carried("backup", "bulk") == {
        "ses": {EVERY, "ses bulk", "ses backup", "bulk ses"},
        "backup": {EVERY, "ses backup"},
        "bulk": {"bulk ses", "ses bulk"},
    }
    assert carried("backup")["bulk"] == {EVERY, "bulk ses", "ses bulk"}


def test_a_pinned_delivery_waits_for_its_transport() -> None:
    served = ROUTES.served({"backup"}, {}, {"ses"})
    assert served["ses"].routes == {"ses"}
    assert not served["backup"].routes


def test_what_one_transport_refuses_goes_by_the_next() -> None:
    refused = {"ses": Refused(senders=frozenset({"a@x.example", "b@x.example"}))}
    served = ROUTES.served(ROUTES.order, refused, {EVERY})
    assert served["backup"].carries(EVERY, "a@x.example", "y.example")
    assert not served["backup"].carries(EVERY, "c@x.example", "y.example")
    assert not served["bulk"].for_others
    refused["backup"] = Refused(senders=frozenset({"a@x.example"}))
    served = ROUTES.served(ROUTES.order, refused, {EVERY})
    assert served["bulk"].carries(EVERY, "a@x.example", "y.example")
    assert not served["bulk"].carries(EVERY, "b@x.example", "y.example")


def test_a_transport_that_was_removed_is_passed_over() -> None:
    served = ROUTES.served(ROUTES.order, {}, {"old backup", "old"})
    assert served["backup"].routes == {"old backup"}
    assert served["ses"] == Served("ses", frozenset())
