"""For the tests of applications: a pytest fixture that shows what was enqueued, sends it, and stops the clock.

    # conftest.py
    pytest_plugins = ["outbox.testing"]

    def test_registering_sends_a_link(client, mailbox):
        client.post("/register", data={"email": "ann@example.org"})
        mail = mailbox.only
        assert mail.recipients == ("ann@example.org",)
        assert "/confirm/" in mail.text

The fixture takes the `app` fixture that such tests have anyway; docs/testing.md has the rest. Nothing here is for
production.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from outbox.testing.mailbox import Attachment, Mail, Mailbox
from outbox.testing.scripts import ACCEPT, DOWN, LOST, Try

__all__ = ["ACCEPT", "DOWN", "LOST", "Attachment", "Mail", "Mailbox", "Try", "mailbox"]


@pytest.fixture
def mailbox(app: Flask) -> Iterator[Mailbox]:
    """The outbox of the `app` fixture: what was enqueued, and what becomes of it."""
    made = Mailbox(app)
    yield made
    made.thaw()
