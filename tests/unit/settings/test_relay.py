"""What a relay's settings forbid by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from outbox.settings.relay import Relay, Security


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_this_machine(host: str) -> None:
    """Plain text to this machine needs no permission."""
    assert Relay(host).is_local
    assert Relay(host).refusal is None


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "10.0.0.1", "128.0.0.1", "::2", ""])
def test_another_machine(host: str) -> None:
    """Plain text to another machine does."""
    assert "plain text" in (Relay(host).refusal or "")
    assert Relay(host, allow_plaintext=True).refusal is None
    assert Relay(host, security=Security.STARTTLS).refusal is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": "u", "password": "p"}, "a password would go over plain text"),
        ({"username": "u"}, "without a password"),
        ({"username": "u", "security": Security.TLS}, "without a password"),
        ({"username": "u", "allow_plaintext": True}, "without a password"),
    ],
)
def test_a_log_in_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    """A password in plain text, or none at all; the words name the setting that fixes it."""
    refusal = Relay(**changes).refusal or ""
    assert words in refusal
    assert "MAIL_" in refusal


def test_the_password_is_not_shown() -> None:
    """A relay can be logged."""
    assert "secret" not in repr(Relay(username="u", password="secret"))
