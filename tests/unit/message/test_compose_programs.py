"""Header fields that programs read: literal, in ASCII, folded at blanks; JSON arrives as the same JSON."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.core.errors import BadHeaderError, MessageError
from tests.unit.message.composing import assert_refused, composed_of, message_of

NAMES = [
    *("X-SMTPAPI", "X-MSYS-API", "X-MC-MergeVars", "X-MC-Tags", "X-Mailgun-Variables", "X-Mailgun-Tag"),
    *("X-PM-Tag", "X-PM-Metadata-order", "X-SES-CONFIGURATION-SET", "X-MJ-EventPayload", "Feedback-ID"),
    *("List-Id", "List-Unsubscribe", "List-Help", "x-smtpapi"),
]
VARIABLES = {
    "name": 'Jörg "der Schöne" O’Neil \\ 😀',
    "cart": [{"id": number, "text": "Grüße, aus: Köln"} for number in range(40)],
    "none": None,
    "rate": 0.1,
    "big": 12345678901234567890,
}


def _unfolded(name: str, value: str) -> str:
    """The field as a program reads it that only unfolds."""
    composed = composed_of(message_of(extra_headers={name: value}))
    wire = composed.wire().partition(b"\r\n\r\n")[0]
    field = next(line for line in re.split(rb"\r\n(?![ \t])", wire) if line.startswith(name.encode() + b":"))
    assert max(map(len, field.split(b"\r\n"))) <= 998
    text = field.replace(b"\r\n", b"").decode("ascii").partition(":")[2]
    assert text.startswith(" ")
    assert text[1:].strip() == text[1:]
    assert message_from_bytes(composed.wire())[name].replace("\n", "").replace("\r", "") == text[1:]
    return text[1:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", ["welcome-mail", "x" * 300, "two words " * 30, "<https://example.org/?" + "a" * 500 + ">", "=?utf-8?q?a?="]
)
def test_they_are_never_encoded(name: str, value: str) -> None:
    """As they are, but for the white space around them."""
    assert _unfolded(name, f" \t{value} ") == value.strip()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options", [{}, {"ensure_ascii": False}, {"indent": 1}, {"indent": "\t", "ensure_ascii": False}, {"indent": 2}]
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_json_arrives_as_the_same_json(name: str, options: dict[str, Any], line_end: str) -> None:
    """Escaped beyond ASCII, on one line, whoever has written it."""
    value = json.dumps(VARIABLES, **options).replace("\n", line_end)
    assert json.loads(_unfolded(name, value)) == VARIABLES


def test_json_without_blanks_gets_some() -> None:
    """It has nowhere to be folded."""
    value = json.dumps(VARIABLES, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(_unfolded("X-SMTPAPI", value)) == VARIABLES
    assert _unfolded("X-SMTPAPI", '{"a":[1,2]}') == '{"a":[1,2]}'


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=60), st.lists, max_leaves=20))
def test_any_json_arrives(value: Any) -> None:
    """Whatever its strings hold."""
    given = {"v": value, "w": 'a,b:"c\\', "\u2028": "\x7f\x85\ud800"}
    assert json.loads(_unfolded("X-Mailgun-Variables", json.dumps(given))) == given
    sound = {"v": value}
    assert json.loads(_unfolded("X-MSYS-API", json.dumps(sound, ensure_ascii=False, indent=1))) == sound


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["Bestätigung", "a\u2028b", "{'nömore': 1}", "a\nb", "x\0", '{"a": "b\nc"}'])
def test_what_they_can_not_hold_is_refused(name: str, value: str) -> None:
    """With the field's name, rather than sent in a form that the program doesn't read."""
    assert_refused(BadHeaderError, f"extra_headers[{name!r}]", extra_headers={name: value})


@pytest.mark.parametrize("value", ["x" * 1000, json.dumps({"a": "x" * 1000})])
def test_what_can_not_be_folded_is_refused(value: str) -> None:
    """A word is never cut."""
    with pytest.raises(MessageError, match="X-PM-Tag"):
        composed_of(message_of(extra_headers={"X-PM-Tag": value}))
