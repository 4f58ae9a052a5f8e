"""Header fields: what none may hold, how they are encoded and folded, and that a reader gets them back."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default as policy

import pytest
from hypothesis import example, given

from outbox.core.errors import BadHeaderError, MessageError
from outbox.message.header_encoding import check_name, check_text, encoded_words, fold, fold_parameters, unstructured
from tests.unit.message.hostile import clean

BAD = [
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x1f",
    "\x7f",
    "\x85",
    "\u2028",
    "\u2029",
    "\ud800",
]

ENCODED_WORD = re.compile(rb"=\?[^?\s]+\?[bqBQ]\?")


@pytest.mark.parametrize("character", BAD)
def test_line_breaks_and_control_characters_are_refused(character: str) -> None:
    """With an error that names the field and not the value."""
    with pytest.raises(BadHeaderError, match="subject: holds") as caught:
        check_text(f"secret{character}X: y", "subject")
    assert "secret" not in str(caught.value)
    assert caught.value.field == "subject"


def test_a_tab_is_white_space_in_a_value_but_not_in_a_name() -> None:
    """RFC 5322 §2.2.2 allows it in fields; a display name or file name with one is a slip."""
    assert check_text("a\tb", "subject") == "a\tb"
    with pytest.raises(BadHeaderError, match="a tab"):
        check_text("a\tb", "filename", tab=False)


@pytest.mark.parametrize("name", ["", "A B", "A:", "Ä", "A\r\nB", "A\n", "a" * 77, "\x7f"])
def test_what_is_no_header_name_is_refused(name: str) -> None:
    """RFC 5322 §2.2: printable ASCII without colon."""
    with pytest.raises(BadHeaderError, match="not a header name"):
        check_name(name, "extra_headers")


@given(clean)
@example("=?" + 76 * "a")  # which is no encoded word
def test_unstructured_text_comes_back_exactly(text: str) -> None:
    """After decoding and unfolding by the standard library, to the character, in short lines."""
    wire = fold("Subject", unstructured("Subject", text))
    assert message_from_bytes(wire, policy=policy)["Subject"] == text
    assert wire.isascii()
    assert all(len(line) <= 76 or not ENCODED_WORD.search(line) for line in wire.split(b"\r\n"))


def test_encoded_words_are_short_and_cut_between_characters() -> None:
    """Each has at most 75 characters and decodes alone (RFC 2047 §2, §5)."""
    words = encoded_words("é日😀" * 100, room=20).split(" ")
    assert max(map(len, words)) <= 75
    for word in words:
        message_from_bytes(f"Subject: {word}\r\n".encode(), policy=policy)["Subject"].encode("utf-8", "strict")


def test_a_long_token_is_left_whole() -> None:
    """An unsubscribe URL of 300 bytes must stand there literally: no encoded word, no fold inside."""
    url = "<https://example.org/u/" + "x" * 300 + ">"
    assert fold("List-Unsubscribe", f"<mailto:a@b.c>, {url}") == (
        b"List-Unsubscribe: <mailto:a@b.c>,\r\n " + url.encode() + b"\r\n"
    )


def test_a_token_that_makes_a_line_too_long_is_refused() -> None:
    """998 octets are the limit of a line; up to it a token is written, name included."""
    room = 998 - len("List-Unsubscribe: ")
    assert len(fold("List-Unsubscribe", "x" * room)) == 1000
    with pytest.raises(MessageError, match="998"):
        fold("List-Unsubscribe", "x" * (room + 1))


def test_a_long_word_of_unstructured_text_is_encoded_instead() -> None:
    """A subject of one word of 1,200 letters can be folded as encoded words."""
    wire = fold("Subject", unstructured("Subject", "x" * 1200))
    assert max(map(len, wire.split(b"\r\n"))) <= 76


def test_folds_keep_every_space() -> None:
    """A run of white space moves to the next line as a whole."""
    value = ("word" * 5 + "   ") * 20 + "end"
    wire = fold("X", value)
    assert wire.replace(b"\r\n", b"").decode() == f"X: {value}"
    assert max(map(len, wire.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("filename", "wire"),
    [
        ("a.pdf", b"Content-Disposition: attachment; filename=a.pdf\r\n"),
        ("a b.pdf", b'Content-Disposition: attachment; filename="a b.pdf"\r\n'),
        ("Übersicht.pdf", b"Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.pdf\r\n"),
        ('a"; x=y', b"Content-Disposition: attachment; filename*=utf-8''a%22%3B%20x%3Dy\r\n"),
    ],
)
def test_a_file_name_is_plain_quoted_or_by_rfc_2231(filename: str, wire: bytes) -> None:
    """As plain as it can be, and once only."""
    assert fold_parameters("Content-Disposition", "attachment", [("filename", filename)]) == wire


@given(clean)
def test_parameters_come_back_exactly(text: str) -> None:
    """In lines of at most 78 characters, whatever the length."""
    wire = fold_parameters("Content-Type", "a/b", [("name", text), ("x", "y")])
    parsed = message_from_bytes(wire, policy=policy)
    assert parsed["Content-Type"].params == {"name": text, "x": "y"}
    assert max(map(len, wire.split(b"\r\n"))) <= 78
    assert wire.isascii()
