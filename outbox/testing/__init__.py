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

import pytest
from flask import Flask

from outbox.core import clock
from outbox.testing.frozen import thaw_all
from outbox.testing.mailbox import Attachment, Mail, Mailbox
from outbox.testing.scripts import ACCEPT, DOWN, LOST, Attempt

__all__ = ["ACCEPT", "DOWN", "LOST", "Attachment", "Mail", "Mailbox", "Attempt", "mailbox"]


_STARTED = pytest.StashKey[float]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember when the test began, its fixtures included."""
    item.stash[_STARTED] = clock.monotonic()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """No test stops the clock of the next: also one that made a `Mailbox` itself."""
    thaw_all()


@pytest.fixture
def mailbox(request: pytest.FixtureRequest, app: Flask) -> Mailbox:
    """The outbox of the `app` fixture: what this test and its fixtures enqueue, and what becomes of it."""
    return Mailbox(app, since=request.node.stash.get(_STARTED, None))
