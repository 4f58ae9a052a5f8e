"""Events: one line each, message first; observers that raise do no harm."""

from __future__ import annotations

import json
import logging

import pytest

from outbox.cli.logs import JsonLines
from outbox.core.events import Event, EventName, Events


def test_a_line_starts_with_the_message_and_quotes_what_needs_it() -> None:
    """Greppable, on one line, whatever the server said."""
    line = Event(
        EventName.FAILED, "<1@x>", {"delivery": 7, "reply": 'no "such" user\r\nFAKE', "code": None, "note": ""}
    ).line()
    assert line == '<1@x> status=failed delivery=7 reply="no \\"such\\" user\\r\\nFAKE"'


def test_machines_find_each_fact_in_a_field_of_its_own() -> None:
    """As JSON: the message first, then the status; numbers stay numbers."""
    events = Events()
    logger, handler = logging.getLogger("outbox"), _Kept()
    logger.addHandler(handler)
    try:
        events.emit(EventName.FAILED, "<1@x>", delivery=7, duration=0.25, code=None)
        logger.error("no event")
    finally:
        logger.removeHandler(handler)
    event, other = (json.loads(JsonLines().format(record)) for record in handler.records)
    assert list(event.items())[:4] == [
        ("message_id", "<1@x>"),
        ("status", "failed"),
        ("delivery", 7),
        ("duration", 0.25),
    ]
    assert (event["level"], "code" in event, other["message"]) == ("error", False, "no event")


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_an_observer_that_raises_is_logged_and_the_next_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A defect in somebody's receiver never breaks delivery."""
    events, seen = Events(), []

    def broken(event: Event) -> None:
        raise ValueError("mine")

    events.observe(broken)
    events.observe(seen.append)
    with caplog.at_level(logging.INFO, "outbox"):
        events.emit(EventName.SENT, "<1@x>", delivery=1)
    assert [event.name for event in seen] == ["sent"]
    assert "an observer of outbox events failed on sent" in caplog.text
    assert "<1@x> status=sent delivery=1" in caplog.text
