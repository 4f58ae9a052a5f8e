"""The bytes of a body: encodings, containers, blobs, and the base64 lines that are spliced in."""

from __future__ import annotations

import binascii
import quopri
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as policy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outbox.message import serializer
from outbox.message.values import Blob, base64_length, base64_lines, splice

UNIQUE = "0123456789abcdef0123456789abcdef"
SIZES = [0, 1, 2, 3, 56, 57, 58, 113, 114, 115, 57 * 1024 - 1, 57 * 1024, 57 * 1024 + 1, 57 * 2048, 200_000]


@pytest.mark.parametrize("size", SIZES)
def test_base64_lines_are_those_of_the_standard_library(size: int) -> None:
    """76 characters a line, CRLF after each, for every size around the borders of line and chunk."""
    data = bytes(range(256)) * (size // 256 + 1)
    expected = binascii.b2a_base64(data[:size], newline=False)
    lines = base64_lines(data[:size]).split(b"\r\n")
    assert lines.pop() == b""
    assert b"".join(lines) == expected
    assert all(len(line) == 76 for line in lines[:-1])
    assert not lines or 0 < len(lines[-1]) <= 76


@pytest.mark.parametrize("size", SIZES)
def test_base64_length_needs_no_encoding(size: int) -> None:
    """The size on the wire is known without encoding a big part."""
    assert base64_length(size) == len(base64_lines(bytes(size)))


def test_splice_puts_each_blob_at_its_offset() -> None:
    """Spliced is the same as written in one piece, also with neighbouring and empty blobs and at either end."""
    first, second, empty = Blob(b"a" * 100), Blob(b"b" * 100_000), Blob(b"")
    blobs = ((0, first), (3, second), (3, empty), (3, first), (6, second))
    whole = b"".join(
        [
            base64_lines(first.data),
            b"abc",
            base64_lines(second.data),
            base64_lines(first.data),
            b"def",
            base64_lines(second.data),
        ]
    )
    assert b"".join(splice(b"abcdef", blobs)) == whole


def test_splice_encodes_piece_by_piece() -> None:
    """A big part is never encoded as a whole: no piece is longer than 80 KB."""
    assert max(map(len, splice(b"head", ((4, Blob(bytes(5_000_000))),)))) <= 80 * 1024


@given(st.text(max_size=300))
@example("x" * 5000)
@example("a \r\n.\r\nFrom here\r\n" + "From " + "x" * 69 + "\r\n" + "From " + "x" * 71 + "\r\nend \t")
@example("é" * 300)
def test_quoted_printable_is_exact_and_short(text: str) -> None:
    """Lines of at most 76 characters, CRLF, no line that a mailbox or SMTP would change, and exactly the text again."""
    data = serializer.canonical(text).encode()
    encoded = serializer.quoted_printable(data)
    lines = encoded.split(b"\r\n")
    assert quopri.decodestring(encoded) == data
    assert max(map(len, lines)) <= 76
    assert not any(b"\n" in line or b"\r" in line or line.endswith((b" ", b"\t")) for line in lines)
    assert not any(line.startswith(b"From ") and len(line) <= 74 for line in lines)
    assert encoded.isascii()


@pytest.mark.parametrize(
    ("text", "charset", "label"),
    [
        ("grün", "iso-8859-1", "iso-8859-1"),
        ("grün", "latin1", "iso-8859-1"),
        ("日本", "iso-8859-1", "utf-8"),
        ("日本", "ISO-2022-JP", "iso-2022-jp"),
        ("日本", "sjis", "shift_jis"),
        ("¥", "sjis", "utf-8"),  # the codec makes a backslash of it
        ("grün", "cp1252", "windows-1252"),
        ("grün", "utf-16", "utf-8"),
        ("grün", "utf-7", "utf-8"),
        ("grün", "utf-8-sig", "utf-8"),
        ("grün", "cp037", "utf-8"),
        ("plain", "ascii", "us-ascii"),
    ],
)
def test_a_text_is_in_its_charset_if_that_can_be(text: str, charset: str, label: str) -> None:
    """The charset asked for, under its registered name; UTF-8 if it cannot hold the text or may not stand in mail."""
    data, used = serializer.encode_text(text, charset)
    assert used == label
    assert data.decode(label) == text


def test_an_unknown_charset_is_a_lookup_error() -> None:
    """The caller turns it into an error that names the field."""
    with pytest.raises(LookupError):
        serializer.charset_label("no-such-charset")


def test_text_is_base64_only_where_that_is_shorter() -> None:
    """European text stays readable in the source; Japanese would be three times as long."""
    assert b"quoted-printable" in serializer.text_part("plain", "Grüße aus Köln, ganz ohne Eile", "utf-8").head
    assert b"base64" in serializer.text_part("plain", "日本語の文章", "utf-8").head


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\n\n", "\n", "a ", "日本語", "a=", "a" * 76])
def test_a_message_of_text_alone_is_exact_and_ends_in_crlf(text: str) -> None:
    """What SMTP needs at the end of the message does not become part of the text."""
    skeleton, blobs = serializer.build(b"X: y\r\n", serializer.text_part("plain", text, "utf-8"), UNIQUE)
    assert skeleton.endswith(b"\r\n")
    assert blobs == ()
    assert _parsed(skeleton).get_content() == text.replace("\n", "\r\n")


def test_one_part_needs_no_container() -> None:
    """A container stands only around several parts."""
    leaf = serializer.text_part("plain", "a", "utf-8")
    assert serializer.container("mixed", [leaf]) is leaf
    assert isinstance(serializer.container("mixed", [leaf, leaf]), serializer.Multipart)


def test_a_tree_comes_back_as_it_was() -> None:
    """Nested containers, each part exact to the byte, blobs at their places."""
    leaf = serializer.text_part("plain", "a\nb", "utf-8")
    small, big = (
        serializer.binary_part(b"Content-Type: a/b\r\n", b"12", 3),
        serializer.binary_part(b"Content-Type: c/d\r\n", b"123", 3),
    )
    tree = serializer.Multipart("mixed", [serializer.Multipart("related", [leaf, big]), small, big])
    skeleton, blobs = serializer.build(b"X: y\r\n", tree, UNIQUE)
    assert [blob.data for _, blob in blobs] == [b"123", b"123"]
    parsed = _parsed(b"".join(splice(skeleton, blobs)))
    assert [part.get_content_type() for part in parsed.walk()] == [
        *("multipart/mixed", "multipart/related", "text/plain", "c/d", "a/b", "c/d")
    ]
    assert [part.get_payload(decode=True) for part in parsed.walk() if not part.is_multipart()] == [
        *(b"a\r\nb", b"123", b"12", b"123")
    ]
    assert not any(part.defects for part in parsed.walk())


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"a\0", b"\xe9", b"x" * 999, b"a\r\n\n"])
def test_what_is_not_clean_may_not_be_written_as_it_is(data: bytes) -> None:
    """7bit needs CRLF, ASCII, no NUL, and short lines (RFC 2045 §2.7)."""
    assert not serializer.is_clean(data)
    assert serializer.is_clean(b"a\r\n" + b"x" * 998)


def _parsed(data: bytes) -> EmailMessage:
    return message_from_bytes(data, EmailMessage, policy=policy)
