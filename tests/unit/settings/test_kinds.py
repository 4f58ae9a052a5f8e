"""The policy of a kind: what may be said of it, and what is an error with its remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from outbox import ConfigurationError, Outbox, Settings
from outbox.delivery.states import Lane, OnUncertain
from outbox.delivery.throttle import Throttle, parse, same_person
from outbox.settings.kinds import Category, KindOptions, Policy, policy
from outbox.worker import build, policies


def test_each_option_is_kept() -> None:
    """In the form in which it is used."""
    options: dict[str, Any] = {
        "category": "security",
        "priority": "high",
        "max_age": 3600,
        "on_uncertain": "hold",
        "transport": "bulk",
        "sensitive": True,
        "sender": ("Shop", "security@example.org"),
        "reply_to": "help@example.org",
        "headers": {"X-Tag": "reset"},
        "throttle": "3/hour",
        "replace": "queued",
        "attempts": 5,
        "retry_first": 10,
        "retry_max": 60,
        "retention": 86_400,
        "failed_text": 0,
        "canary": 0.01,
        "canary_limit": 0.05,
        "canary_wait": 60,
        "title": "Reset your password",
        "always_bcc": "archive@example.org",
    }
    assert options.keys() == KindOptions.__annotations__.keys()
    made = policy("password-reset", options)
    assert made == Policy(
        "password-reset",
        Category.SECURITY,
        Lane.HIGH,
        3600.0,
        OnUncertain.HOLD,
        "bulk",
        True,
        ("Shop", "security@example.org"),
        "help@example.org",
        (("X-Tag", "reset"),),
        Throttle(3, 3600.0),
        "queued",
        5,
        10.0,
        60.0,
        86_400.0,
        0.0,
        0.01,
        0.05,
        60.0,
        "Reset your password",
        "archive@example.org",
    )
    assert dict(made.words) == {
        "category": "security",
        "priority": "high",
        "max_age": "3600 s",
        "on_uncertain": "hold",
        "transport": "bulk",
        "sensitive": "yes",
        "sender": "Shop <security@example.org>",
        "reply_to": "help@example.org",
        "headers": "X-Tag: reset",
        "throttle": "3/hour",
        "replace": "queued",
        "attempts": "5",
        "retry_first": "10 s",
        "retry_max": "60 s",
        "retention": "86400 s",
        "canary": "1 %",
        "canary_limit": "5 %",
        "canary_wait": "60 s",
        "title": "Reset your password",
        "always_bcc": "archive@example.org",
    }
    assert made.label == "Reset your password"
    assert policy("news", {}).label == "news"
    assert policy("news", dict.fromkeys(options)).words == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("", {}, "kind '': its name is empty"),
        (" a", {}, "kind ' a': its name is empty, or has spaces around it: give a label such as password-reset."),
        (7, {}, "kind 7: its name is 7, not a text."),
        ("x" * 65, {}, "its name has 65 characters, more than 64."),
        ("a", {"category": "urgent"}, "category is 'urgent', not security, receipt, notification or subscription."),
        ("a", {"priority": "urgent"}, "priority is 'urgent', not high, normal or bulk."),
        ("a", {"max_age": 0}, "max_age is 0, not a number of seconds above 0"),
        ("a", {"on_uncertain": "drop"}, "on_uncertain is 'drop', not retry or hold."),
        ("a", {"sensitive": "perhaps"}, "sensitive is 'perhaps', neither true nor false."),
        ("a", {"sender": "nobody"}, "sender is 'nobody', not a valid address"),
        ("a", {"reply_to": "nobody"}, "reply_to is 'nobody', not a valid address"),
        ("a", {"headers": {"To": "x@example.org"}}, "headers is not a list of headers"),
        ("a", {"throttle": "often"}, "throttle is 'often', not a number of messages in a time: write 3/hour"),
        ("a", {"throttle": "0/hour"}, "throttle is '0/hour': the number of messages must be from 1 to 100."),
        ("a", {"throttle": "101/hour"}, "the number of messages must be from 1 to 100."),
        ("a", {"throttle": "3/0 hours"}, "the time must be above 0 and at most 31 days."),
        ("a", {"throttle": "3/32d"}, "the time must be above 0 and at most 31 days."),
        ("a", {"throttle": "3/fortnight"}, "not a number of messages in a time"),
        ("a", {"throttle": 3}, "throttle is 3, not a text such as 3/hour."),
        ("a", {"replace": "sent"}, "replace is 'sent', not queued."),
    ],
)
def test_what_cannot_be_is_an_error(name: Any, options: dict[str, Any], words: str) -> None:
    """That says what is wrong, and what may be given."""
    with pytest.raises(ConfigurationError) as caught:
        Outbox().kind(name, **options)
    assert words in str(caught.value)


def test_all_faults_at_once() -> None:
    """One look mends them all."""
    with pytest.raises(ConfigurationError) as caught:
        Outbox().kind("a", priority="urgent", throttle="often")
    assert len(caught.value.faults) == 2


def test_an_unknown_option_is_an_error() -> None:
    """With the one that was meant."""
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'senstive'\. Did you mean 'sensitive'\? Known"):
        Outbox().kind("a", senstive=True)  # type: ignore[call-arg]


def test_a_kind_is_defined_once() -> None:
    """Two policies of one name would be a matter of the order of imports. Another `Outbox` has kinds of its own."""
    mail = Outbox()
    mail.kind("a")
    with pytest.raises(ConfigurationError, match=r"the kind 'a' is defined twice\. Define each kind once"):
        mail.kind("a")
    Outbox().kind("a")


@pytest.mark.parametrize(
    ("text", "throttle", "shown"),
    [
        ("3/hour", Throttle(3, 3600.0), "3/hour"),
        ("3/h", Throttle(3, 3600.0), "3/hour"),
        (" 10 / Minute ", Throttle(10, 60.0), "10/minute"),
        ("1/15min", Throttle(1, 900.0), "1/15 minutes"),
        ("1/15 minutes", Throttle(1, 900.0), "1/15 minutes"),
        ("5/1d", Throttle(5, 86_400.0), "5/day"),
        ("5/36 hours", Throttle(5, 129_600.0), "5/36 hours"),
        ("2/s", Throttle(2, 1.0), "2/second"),
    ],
)
def test_the_forms_of_a_throttle(text: str, throttle: Throttle, shown: str) -> None:
    """And how it is shown."""
    assert parse(text) == throttle
    assert str(throttle) == shown
    assert parse(str(throttle)) == throttle


def test_a_throttle_looks_back() -> None:
    """Over its time, from each message: there is no full hour at which all may be sent anew."""
    throttle = Throttle(2, 60.0)
    assert throttle.admits([], 100.0)
    assert throttle.admits([99.0], 100.0)
    assert not throttle.admits([41.0, 99.0], 100.0)
    assert throttle.admits([40.0, 99.0], 100.0)
    assert throttle.admits([1.0, 2.0, 99.0], 100.0)


@pytest.mark.parametrize(
    ("address", "person"),
    [
        ("Ann@Example.ORG", "ann@example.org"),
        ("ann+shop@example.org", "ann@example.org"),
        ("a.n.n@example.org", "a.n.n@example.org"),
        ("A.n.n+x@gmail.com", "ann@gmail.com"),
        ("ann@googlemail.com", "ann@gmail.com"),
        ("+ann@example.org", "+ann@example.org"),
        ('"a@b"@example.org', '"a@b"@example.org'),
        ("...@gmail.com", "...@gmail.com"),
    ],
)
def test_one_person_has_many_addresses(address: str, person: str) -> None:
    """Dots count for nothing at Gmail, and what is behind a plus sign nowhere."""
    assert same_person(address) == person


def test_how_often_and_how_long() -> None:
    """Attempts, waits and retention are checked where the kind is defined."""
    made = policy("code", {"attempts": 5, "retry_first": 10, "retry_max": timedelta(minutes=1), "retention": "86400"})
    assert (made.attempts, made.retry_first, made.retry_max, made.retention) == (5, 10.0, 60.0, 86_400.0)
    assert made.retries_by_itself
    assert not policy("other", {"retention": 60}).retries_by_itself
    with pytest.raises(ConfigurationError) as caught:
        policy("code", {"attempts": 0, "retention": -1})
    assert len(caught.value.faults) == 2
    with pytest.raises(ConfigurationError, match="retry_first is longer than retry_max"):
        policy("code", {"retry_first": 61, "retry_max": 60})


def test_what_a_kind_does_not_say_is_as_the_settings_say() -> None:
    """A first wait above the longest of the settings raises that, and the other way round."""
    settings = Settings.from_config({"OUTBOX_RETRY_FIRST_SECONDS": 60, "OUTBOX_RETRY_MAX_SECONDS": 600})
    kinds = [policy("a", {"retry_first": 900}), policy("b", {"retry_max": 5}), policy("c", {"priority": "high"})]
    found = policies.of_kinds(kinds, build.retry_policy(settings))
    assert [(name, one.first, one.most, one.attempts) for name, one in found.items()] == [
        ("a", 900.0, 900.0, settings.max_attempts),
        ("b", 5.0, 5.0, settings.max_attempts),
    ]
