"""Tags, as each provider wants them: by a real server, read by Python's parser."""

from __future__ import annotations

import email
import json
from collections.abc import Callable

import pytest

from outbox.smtp.connection import Connection
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

TAGS = ("welcome", "trial", "campaign=spring sale", "customer=4711")


@pytest.mark.parametrize(
    ("preset", "headers"),
    [
        (
            "postmark",
            {
                "X-PM-KeepID": ["true"],
                "X-PM-Tag": ["welcome"],
                "X-PM-Metadata-tag-2": ["trial"],
                "X-PM-Metadata-campaign": ["spring sale"],
                "X-PM-Metadata-customer": ["4711"],
            },
        ),
        ("ses", {"X-SES-MESSAGE-TAGS": ["tag=welcome, tag-2=trial, campaign=spring-sale, customer=4711"]}),
        (
            "mailgun",
            {
                "X-Mailgun-Tag": ["welcome", "trial"],
                "X-Mailgun-Variables": [{"campaign": "spring sale", "customer": "4711"}],
            },
        ),
        (
            "sendgrid",
            {
                "X-SMTPAPI": [
                    {
                        "category": ["welcome", "trial"],
                        "unique_args": {"campaign": "spring sale", "customer": "4711"},
                    }
                ]
            },
        ),
        (
            "sparkpost",
            {
                "X-MSYS-API": [
                    {"tags": ["welcome", "trial"], "metadata": {"campaign": "spring sale", "customer": "4711"}}
                ]
            },
        ),
        (
            "mailjet",
            {
                "X-Mailjet-Campaign": ["welcome"],
                "X-MJ-EventPayload": [{"tag-2": "trial", "campaign": "spring sale", "customer": "4711"}],
            },
        ),
        (
            "brevo",
            {
                "X-Mailin-Tag": ["welcome"],
                "X-Mailin-custom": [{"tag-2": "trial", "campaign": "spring sale", "customer": "4711"}],
            },
        ),
        ("generic", {}),
        ("gmail", {}),
    ],
)
def test_the_headers_of_each_provider(
    preset: str, headers: dict[str, list[object]], connect: Callable[..., Connection]
) -> None:
    """Before the frozen bytes, which stay as they are; the same on each attempt."""
    with SmtpServer() as server:
        connection = connect(server.relay(preset=preset, headers=headers_of(preset)))
        for _ in range(2):
            connection.deliver(envelope(tags=TAGS), CONTENT)
        first, second = (one.content for one in server.messages)
    assert first == second
    assert first.endswith(CONTENT)
    added = email.message_from_bytes(first.removesuffix(CONTENT) + b"\r\n")
    assert {name: [_read(value) for value in added.get_all(name, [])] for name in added} == headers
    assert max(map(len, first.split(b"\r\n"))) <= 78


def headers_of(preset: str) -> tuple[tuple[str, str], ...]:
    """As the settings take them from the preset."""
    return (("X-PM-KeepID", "true"),) if preset == "postmark" else ()


def _read(value: str) -> object:
    whole = "".join(value.splitlines())
    return json.loads(whole) if whole.startswith("{") else whole


def test_long_ones_are_folded_and_stay_the_same(connect: Callable[..., Connection]) -> None:
    tags = tuple(f"name-{number}={'a word ' * 17}end" for number in range(9))
    with SmtpServer() as server:
        connect(server.relay(preset="mailgun")).deliver(envelope(tags=tags), CONTENT)
        (message,) = server.messages
    added = email.message_from_bytes(message.content.removesuffix(CONTENT) + b"\r\n")
    assert _read(added["X-Mailgun-Variables"]) == dict(tag.split("=") for tag in tags)
    assert max(map(len, message.content.split(b"\r\n"))) <= 78
