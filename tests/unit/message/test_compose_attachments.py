"""Attachments and inline images: their bytes, names, types, and the big ones apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.message.composing import PNG, UNIQUE, attachment_of, composed_of, message_of, read


@pytest.mark.parametrize(
    ("arguments", "content_type", "data"),
    [
        (("a.txt", "text/plain", "grün\n"), 'text/plain; charset="utf-8"', "grün\n".encode()),
        (("a.txt", "text/plain; charset=latin1", "grün"), 'text/plain; charset="iso-8859-1"', "grün".encode("latin-1")),
        (("a.txt", "text/plain; charset=ascii", "grün"), 'text/plain; charset="utf-8"', "grün".encode()),
        (("a.ics", "text/calendar; method=REQUEST", "x"), 'text/calendar; charset="utf-8"; method="REQUEST"', b"x"),
        (("a.txt", "text/plain", b"\xff\n\r"), "text/plain", b"\xff\n\r"),
        (("a.json", "application/json", '{"a": "ü"}'), "application/json", '{"a": "ü"}'.encode()),
        (("a.pdf", None, b"%PDF"), "application/pdf", b"%PDF"),
        ((None, None, b"%PDF"), "application/octet-stream", b"%PDF"),
        (("a", "multipart/mixed; boundary=x", b"--x"), "application/octet-stream", b"--x"),
        (("a", "message/delivery-status", b"a: b\n"), "application/octet-stream", b"a: b\n"),
        (("a.eml", "message/rfc822", b"Subject: \xff\n\nx"), "application/octet-stream", b"Subject: \xff\n\nx"),
        (
            ("a.eml", "message/rfc822", b"S: x\n\n" + UNIQUE.encode()),
            "application/octet-stream",
            b"S: x\n\n" + UNIQUE.encode(),
        ),
        (("a", "a/b", bytearray(b"ab")), "a/b", b"ab"),
        (("a", "a/b", memoryview(b"ab")), "a/b", b"ab"),
        (("a", "a/b", b""), "a/b", b""),
    ],
)
def test_an_attachment_comes_back(arguments: Any, content_type: str, data: bytes) -> None:
    """Its bytes exactly, text in the charset it names, its type as it can be sent."""
    message = message_of()
    message.attach(*arguments)
    part = attachment_of(read(composed_of(message)))
    assert part["Content-Type"] == content_type
    assert part.get_payload(decode=True) == data
    assert part.get_filename() == arguments[0]
    assert part.get_content_disposition() == "attachment"


def test_a_forwarded_mail_stays_a_mail() -> None:
    """RFC 2046 §5.2.1 forbids base64: it is written as it is, with CRLF, where it is 7-bit and has short lines."""
    message = message_of()
    message.attach("a.eml", "message/rfc822", b"Subject: inner\nX: y\n\nbody\n")
    part = attachment_of(read(composed_of(message)))
    assert part.get_content_type() == "message/rfc822"
    assert part.get_content()["Subject"] == "inner"
    assert part.get_content().get_payload() == "body\r\n"


def test_attachment_headers_are_kept() -> None:
    """A Content-ID gets its angle brackets; a list of pairs will do as for older versions of Flask-Mail."""
    message = message_of()
    message.attach("a.png", "image/png", PNG, "inline", [("Content-ID", "logo"), ("Content-Description", "Grün")])  # type: ignore[arg-type]
    part = attachment_of(read(composed_of(message)))
    assert part["Content-ID"] == "<logo>"
    assert part["Content-Description"] == "Grün"
    assert part.get_content_disposition() == "inline"


def test_ascii_attachments() -> None:
    """MAIL_ASCII_ATTACHMENTS reduces names to ASCII, as in Flask-Mail."""
    message = message_of()
    message.attach("Über  sicht.pdf", "application/pdf", b"x")
    assert attachment_of(read(composed_of(message, ascii_attachments=True))).get_filename() == "Uber sicht.pdf"


def test_big_parts_become_blobs_and_the_whole_is_the_same() -> None:
    """From the threshold on; what is spliced is what would have been written in one piece."""
    message = message_of(html="<img src=cid:a>")
    message.attach("a.png", "image/png", PNG * 100, "inline", {"Content-ID": "<a>"})
    message.attach("b", "a/b", b"x" * 8191)
    message.attach("c", "a/b", b"x" * 8192)
    composed = composed_of(message)
    assert [len(blob.data) for _, blob in composed.blobs] == [len(PNG) * 100, 8192]
    assert len(composed.skeleton) < 8192 * 2
    assert composed.wire() == composed_of(message, blob_threshold=10**9).skeleton
    assert composed.size == len(composed.wire())
