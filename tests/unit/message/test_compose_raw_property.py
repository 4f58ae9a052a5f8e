"""Bytes that the application built, and messages that it received, with hostile content: taken whole, or refused.

`OUTBOX_EXAMPLES=10000 pytest --timeout 3600 tests/unit/message/test_compose_raw_property.py` is the long form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from email.policy import compat32
from email.policy import default as policy
from typing import Any

import flask_mail
from flask import Flask
from hypothesis import event, given
from hypothesis import strategies as st

from outbox import Outbox, RawMessage
from outbox.core.errors import OutboxError
from tests.unit.message.hostile import body, dirty, short
from tests.unit.message.test_compose_property import _composed, hostile

APP = Flask(__name__)
APP.config.update(OUTBOX_DATABASE_URL="sqlite://")
Outbox(APP)

PHRASES = (
    *("", "Ann", '"Doe, Ann"', '"a \\" b"', "=?utf-8?q?J=C3=B6rg?=", "=?utf-8?b?YUB4Lm9yZyw=?=", "Jörg", "Bob @ Work"),
    *('"bob@x.org, "', "=?utf-8?q?boss=40x=2Eorg=2C?="),
)
ADDRESSES = {  # as written → as in the envelope
    "ann@example.org": "ann@example.org",
    "a.b@EXAMPLE.org": "a.b@example.org",
    "o'hara@mail.example.org": "o'hara@mail.example.org",
    "a+b=c@x.org": "a+b=c@x.org",
}
NAMES = (
    "Subject",
    "X-A",
    "References",
    "In-Reply-To",
    "Bcc",
    "Cc",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Date",
)
OBSOLETE = re.compile(rb"(?m)^[!-9;-~]+[ \t]+:")
"""A blank before the colon (RFC 5322 §4.5): the standard library reads such a line as the first of the body."""

_people = st.lists(st.tuples(st.sampled_from(PHRASES), st.sampled_from(sorted(ADDRESSES))), min_size=1, max_size=4)
_separators = st.sampled_from((", ", ",", ",\r\n ", " ,\r\n\t"))
_fields = st.tuples(
    st.one_of(st.sampled_from(NAMES), short),
    st.one_of(dirty.map(lambda value: value if isinstance(value, str) else value.decode("latin-1")), body),
)


class Built(flask_mail.Message):
    """Builds its bytes, as code that signs does."""

    content = b""

    def as_bytes(self) -> bytes:
        return self.content


def _built(content: bytes) -> Built:
    made = Built("s", ["ann@example.org"], sender="shop@example.com")
    made.content = content
    return made


WAYS: dict[str, Callable[[bytes], Any]] = {
    "bytes": RawMessage,
    "older parser": lambda content: RawMessage(message_from_bytes(content, policy=compat32)),
    "newer parser": lambda content: RawMessage(message_from_bytes(content, policy=policy)),
    "subclass": _built,
}


@hostile
@given(_people, _people, _separators, st.lists(_fields, max_size=2), body, st.sampled_from(sorted(WAYS)))
def test_nobody_is_lost(
    to: list[tuple[str, str]],
    cc: list[tuple[str, str]],
    separator: str,
    more: list[tuple[str, str]],
    text: str,
    way: str,
) -> None:
    """No error but ours, bytes that can be sent, no Bcc among them, and each who is in To and Cc in the envelope."""
    written = (
        (name, separator.join(f"{phrase} <{address}>".strip() for phrase, address in people))
        for name, people in (("To", to), ("Cc", cc))
    )
    head = "\r\n".join(f"{name}: {value}" for name, value in (("From", "shop@example.com"), *written, *more))
    content = f"{head}\r\n\r\n{text}\r\n".encode("utf-8", "replace")
    with APP.app_context():
        try:
            composed = _composed(WAYS[way](content))
        except OutboxError as error:
            event(f"{way}: {type(error).__name__}")
            return
    event(f"{way}: accepted")
    wire = composed.wire()
    assert composed.size == len(wire)
    lines = wire.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    names = [name.lower() for name, _ in composed.headers]
    assert {"date", "message-id", "from"} <= set(names)
    assert "bcc" not in names
    if OBSOLETE.search(wire.partition(b"\r\n\r\n")[0]) is None:
        assert names == [name.lower() for name in message_from_bytes(wire)]
    if not more and way != "subclass":
        assert set(composed.recipients) == {ADDRESSES[address] for _, address in (*to, *cc)}
