"""The settings of a staging machine: what they take, and that they fail closed."""

from __future__ import annotations

from typing import Any

import pytest

from app.config import load
from outbox import ConfigurationError, Settings
from outbox.delivery.staging import Allowed


def settings(**config: Any) -> Settings:
    return Settings.from_config({"MAIL_SERVER": "localhost", **config})


@pytest.mark.parametrize(
    ("given", "allowed", "not_allowed"),
    [
        ("example.org", ["a@example.org", "A@EXAMPLE.ORG"], ["a@sub.example.org", "a@example.com"]),
        ("@Example.org", ["a@example.org"], ["a@notexample.org"]),
        ("Ann@Example.org  example.net", ["ann@example.org", "ANN@example.org", "x@example.net"], ["x@example.org"]),
        ("qa-*@Example.org", ["qa-1@example.org", "QA-@EXAMPLE.org"], ["xqa-1@example.org", "qa-1@example.org.evil"]),
        ("*.shop.example", ["a@x.shop.example", "a@x.y.SHOP.example"], ["a@shop.example", "a@xshop.example"]),
        ("@qa*.example", ["a@qa1.example"], ["qa1.example@example.org"]),
        ("a_%*@example.org", ["a_%x@example.org"], ["abcx@example.org"]),
        (["ann@example.org", "localhost"], ["ann@example.org", "x@localhost"], ["bob@example.org"]),
    ],
)
def test_who_is_allowed(given: Any, allowed: list[str], not_allowed: list[str]) -> None:
    """Addresses and domains, in any case, without subdomains."""
    found = settings(OUTBOX_ALLOW_RECIPIENTS=given).allow_recipients
    assert found is not None
    assert [one in found for one in allowed] == [True] * len(allowed)
    assert [one in found for one in not_allowed] == [False] * len(not_allowed)


def test_how_they_are_shown() -> None:
    """As they are written, in order."""
    allowed = Allowed(frozenset({"b@c.d", "a@c.d"}), frozenset({"example.org"}))
    assert str(allowed) == "a@c.d b@c.d example.org"
    assert [allowed.has_some_of(domain) for domain in ("c.d", "C.D", "example.org", "d")] == [True, True, False, False]
    patterns = Allowed(frozenset(), frozenset(), frozenset({"x*@*.c.d", "*.e.f"}))
    assert str(patterns) == "*.e.f x*@*.c.d"
    assert [patterns.has_some_of(domain) for domain in ("q.C.d", "c.d", "q.e.f")] == [True, False, False]


@pytest.mark.parametrize("name", ["OUTBOX_REDIRECT_TO", "OUTBOX_ALLOW_RECIPIENTS"])
@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_blank_is_a_fault(name: str, blank: str) -> None:
    """In a configuration, in the environment, and in the reference application; other settings are unset then."""
    environ = {name: blank, "OUTBOX_ENVIRONMENT": blank}
    assert Settings.from_env(environ) == {name: blank}
    assert load(environ)[name] == blank
    with pytest.raises(ConfigurationError, match=f"{name} is .* Leave it out if mail is to go to its recipients"):
        settings(**environ)


def test_none_is_unset() -> None:
    """As of all settings: it can't come from an environment."""
    found = settings(OUTBOX_REDIRECT_TO=None, OUTBOX_ALLOW_RECIPIENTS=None)
    assert (found.redirect_to, found.allow_recipients) == (None, None)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"OUTBOX_REDIRECT_TO": "nobody"}, "OUTBOX_REDIRECT_TO holds 'nobody', which"),
        ({"OUTBOX_REDIRECT_TO": "a@example.org, b@example.org"}, "OUTBOX_REDIRECT_TO holds"),
        ({"OUTBOX_ALLOW_RECIPIENTS": "a@example.org,b@example.org"}, "OUTBOX_ALLOW_RECIPIENTS holds"),
        ({"OUTBOX_ALLOW_RECIPIENTS": "*"}, "OUTBOX_ALLOW_RECIPIENTS holds '*', which everybody fits. Leave it out"),
        ({"OUTBOX_ALLOW_RECIPIENTS": "*@*.*"}, "OUTBOX_ALLOW_RECIPIENTS holds '*@*.*', which everybody fits"),
        (
            {"OUTBOX_ALLOW_RECIPIENTS": "a *@@x"},
            "OUTBOX_ALLOW_RECIPIENTS holds '*@@x', which is not a pattern",
        ),
        ({"OUTBOX_ALLOW_RECIPIENTS": 7}, "OUTBOX_ALLOW_RECIPIENTS is 7, not addresses and domains"),
        (
            {"OUTBOX_REDIRECT_TO": "a@example.org", "OUTBOX_ALLOW_RECIPIENTS": "example.net"},
            "OUTBOX_REDIRECT_TO, a@example.org, is not among OUTBOX_ALLOW_RECIPIENTS. Add it there, or set one",
        ),
    ],
)
def test_what_cannot_be_is_a_fault(config: dict[str, Any], words: str) -> None:
    """Nothing is sent by a setting that was misread."""
    with pytest.raises(ConfigurationError) as caught:
        settings(**config)
    assert words in str(caught.value)


def test_both_together() -> None:
    """If the one address is among the others."""
    found = settings(OUTBOX_REDIRECT_TO="A@Example.org", OUTBOX_ALLOW_RECIPIENTS="example.org")
    assert found.redirect_to == "A@Example.org"
