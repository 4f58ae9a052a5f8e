"""OUTBOX_WEBHOOKS: whom to tell, and what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outbox import ConfigurationError, Settings

GOOD = {"url": "https://crm.example/hooks", "secret": "x" * 24, "types": ["sent", "bounced"]}


def test_a_list_and_its_json_are_the_same() -> None:
    """Names come of the URL, so that they stay; neither URL nor secret is in the repr."""
    [one] = Settings.from_config({"OUTBOX_WEBHOOKS": [GOOD]}).webhooks
    settings = Settings.from_config({"OUTBOX_WEBHOOKS": json.dumps([GOOD])})
    assert settings.webhooks == (one,)
    assert one.name.startswith("webhook:crm.example-")
    assert (one.wants("sent", None), one.wants("failed", None)) == (True, False)
    assert "hooks" not in repr(one)
    assert "x" * 24 not in repr(settings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://crm.example/hooks"}, "its url is plain http to another machine"),
        ({"url": "https://me:secret@crm.example/"}, "its url holds a user"),
        ({"url": "ftp://crm.example/"}, "its url is not an https URL"),
        ({"url": "https://crm.example/\r\nX: y"}, "its url is not an https URL"),
        ({"types": ["sent", "eaten"]}, "types holds 'eaten'"),
        ({"types": []}, "types is missing"),
        ({"secret": "short"}, "its secret has fewer than 24 bytes"),
        ({"secret": "whsec_!!"}, "what follows is not base64"),
        ({"secret": None}, "secret is neither a text nor a list of texts"),
        ({"colour": "red"}, "has 'colour'"),
    ],
)
def test_what_is_refused(change: dict[str, Any], said: str) -> None:
    """Each with the reason."""
    with pytest.raises(ConfigurationError, match="webhook 1") as caught:
        Settings.from_config({"OUTBOX_WEBHOOKS": [GOOD | change]})
    assert said in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000/x", "http://127.0.0.1/x", "http://[::1]/x"])
def test_plain_http_to_this_machine(url: str) -> None:
    """Never leaves it."""
    assert Settings.from_config({"OUTBOX_WEBHOOKS": [GOOD | {"url": url}]}).webhooks[0].url == url


def test_two_secrets_while_one_is_replaced() -> None:
    """Both sign."""
    [one] = Settings.from_config({"OUTBOX_WEBHOOKS": [GOOD | {"secret": ["a" * 24, "b" * 24]}]}).webhooks
    assert one.secrets == (b"a" * 24, b"b" * 24)
