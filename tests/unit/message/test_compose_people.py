"""Parts and texts as people hand them in: inline images, alternatives, forwarded mail, file names, dates."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from typing import Any

import flask_mail
import pytest

from outbox import Message
from outbox.core.errors import MessageError
from tests.unit.message.composing import (
    PNG,
    assert_refused,
    attachment_of,
    composed_of,
    message_of,
    read,
    text_of,
    tree_of,
)

ODD = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029", "\x01", "\x7f", "\x80", "\x92"]


@pytest.mark.parametrize("disposition", [None, "attachment", "inline", "INLINE"])
@pytest.mark.parametrize("content_id", ["<logo>", "logo", "<LOGO>"])
def test_an_image_that_the_html_names_is_related(disposition: str | None, content_id: str) -> None:
    """Whatever its disposition; one that is not named stays an attachment with the disposition that it was given."""
    message = message_of(html='<img src="cid:logo">')
    message.attach("logo.png", "image/png", PNG, disposition, {"Content-ID": content_id})
    message.attach("other.png", "image/png", PNG, disposition, {"Content-ID": "<other>"})
    parsed = read(composed_of(message))
    if content_id == "<LOGO>":  # RFC 2392: as it is written
        assert tree_of(parsed) == "mixed(alternative(text/plain, text/html), image/png, image/png)"
        return
    assert tree_of(parsed) == "mixed(alternative(text/plain, related(text/html, image/png)), image/png)"
    logo, other = (part for part in parsed.walk() if part.get_filename())
    assert logo.get_content_disposition() == "inline"
    assert other.get_content_disposition() == (disposition or "attachment").lower()


@pytest.mark.parametrize("kind", ["html", "HTML", "text/html", "text/html; charset=utf-8"])
@pytest.mark.parametrize("message_class", [flask_mail.Message, Message])
def test_html_among_the_alternatives_is_html(kind: str, message_class: type[flask_mail.Message]) -> None:
    """It gets a text part and its images; our class keeps it where Flask-Mail's constructor loses it."""
    message = message_class("s", ["ann@example.org"], sender="shop@example.com", alts={kind: "<p>Hi cid:i</p>"})
    if message_class is flask_mail.Message and kind == "html":
        assert message.alts == {}
        return
    message.attach("i.png", "image/png", PNG, headers={"Content-ID": "<i>"})
    parsed = read(composed_of(message))
    assert tree_of(parsed) == "alternative(text/plain, related(text/html, image/png))"
    assert text_of(parsed, "plain").strip() == "Hi cid:i"


@pytest.mark.parametrize(
    ("subtype", "content", "method"),
    [
        ("calendar", "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n", "REQUEST"),
        ("text/calendar", "BEGIN:VCALENDAR\nVERSION:2.0\nmethod:reply\nEND:VCALENDAR", "REPLY"),
        ("calendar; method=CANCEL", "BEGIN:VCALENDAR\nMETHOD:REQUEST", "CANCEL"),
        ("calendar", "BEGIN:VCALENDAR\nDESCRIPTION:METHOD:REQUEST", None),
    ],
)
def test_a_calendar_is_sent_by_its_method(subtype: str, content: str, method: str | None) -> None:
    """Mail programs show buttons only where the part says it, too (RFC 6047)."""
    last = read(composed_of(message_of(body="x", alts=[(subtype, content)]))).get_payload()[-1]
    assert last["Content-Type"].params.get("method") == method


@pytest.mark.parametrize("calendar", ["calendar", "text/calendar; method=REQUEST", "Calendar; method=REPLY"])
@pytest.mark.parametrize("first", [True, False])
def test_a_calendar_is_the_last_alternative(calendar: str, first: bool) -> None:
    """In whatever order they were given; AMP is never last."""
    alternatives = [(calendar, "BEGIN:VCALENDAR"), ("html", "<p>x</p>"), ("x-amp-html", "<html amp4email>")]
    message = message_of(body="a")
    message.alts = dict(alternatives if first else reversed(alternatives))
    parsed = read(composed_of(message))
    assert tree_of(parsed) == "alternative(text/plain, text/x-amp-html, text/html, text/calendar)"
    last = list(parsed.iter_parts())[-1]
    assert last.get_content().strip() == "BEGIN:VCALENDAR"
    assert last["Content-Type"].params.get("method") == (calendar.partition("=")[2] or None)


@pytest.mark.parametrize("data", [b"Subject: x\n\nbody\n", "Subject: ä\n\nbödy\n".encode()])
@pytest.mark.parametrize("filename", [None, ""])
def test_forwarded_mail_has_a_name(data: bytes, filename: str | None) -> None:
    """Also where it goes as bytes, since it is not 7-bit."""
    message = message_of()
    message.attach(filename, "message/rfc822", data)
    assert attachment_of(read(composed_of(message))).get_filename() == "message.eml"
    message.attachments[0].filename = "own.eml"
    assert attachment_of(read(composed_of(message))).get_filename() == "own.eml"


@pytest.mark.parametrize("filename", ["Übersicht.pdf", "日本語" * 60 + ".pdf", "😀 a  b.pdf"])
def test_a_file_name_may_have_a_fallback(filename: str) -> None:
    """By RFC 2047 in the Content-Type, for readers that know no RFC 2231; only if asked for, and only beyond ASCII."""
    message = message_of()
    message.attach(filename, "application/pdf", PNG)
    assert b"name=" not in composed_of(message).wire().replace(b"filename", b"")
    composed = composed_of(message, name_fallback=True)
    assert max(map(len, composed.wire().split(b"\r\n"))) <= 78
    part: Any = message_from_bytes(composed.wire()).get_payload()[-1]
    raw = part.get_param("name").replace("\r\n", "").replace("\n", "")
    assert str(make_header(decode_header(raw))) == filename
    assert attachment_of(read(composed)).get_filename() == filename
    message.attachments[0].filename = "plain.pdf"
    assert composed_of(message, name_fallback=True).wire() == composed_of(message).wire()
    message.attachments[0].filename, message.attachments[0].content_type = filename, 'application/pdf; name="own.pdf"'
    assert composed_of(message, name_fallback=True).wire() == composed_of(message).wire()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Sun, 22 Nov 2026 10:00:00 +0000", None),
        ("22 Nov 2026 10:00 -0500", None),
        ("Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:00:00 +0000"),
        ("Sun, 22 Nov 2026 10:00:00 +0000 (UTC)", "Sun, 22 Nov 2026 10:00:00 +0000"),
        (" Sun,\r\n 1 Nov 2026 10:00:00 -0000", "Sun, 1 Nov 2026 10:00:00 -0000"),
    ],
)
def test_a_date_that_is_valid_is_kept(given: str, sent: str | None) -> None:
    """As RFC 5322 §3.3 writes it."""
    wire = composed_of(message_of(extra_headers={"Date": given})).wire()
    assert message_from_bytes(wire).get_all("Date") == [sent or given]


@pytest.mark.parametrize(
    "given",
    [
        *(
            "tomorrow",
            "2026-11-22",
            "2026-11-22T10:00:00+00:00",
            "1700000000",
            "Sun, 22 Nov 2026",
            "22 Nov 26 10:00 +0000",
        ),
        *("Mon, 22 Nov 2026 10:00:00 +0000", "Sun, 31 Nov 2026 10:00:00 +0000", "Sun, 22 Nov 2026 25:00:00 +0000"),
        *("Sun, 22 Nov 2026 10:00:00", "Sun, 22 Nov 2026 10:00:00 EST", "Sun, 22 Nov 2026 10:00:00 +9900"),
        *("Fri, 22 Nov 1826 10:00:00 +0000", "Sun, 22 Now 2026 10:00:00 +0000", "Sun, 22 Nov 2026 10:00:00 +0000 x"),
    ],
)
def test_a_date_that_is_not_valid_is_refused(given: str) -> None:
    """Python's parser takes some of them for a date, relays don't."""
    assert_refused(MessageError, "extra_headers['Date']", extra_headers={"Date": given})


@pytest.mark.parametrize("character", [*ODD, "\t"])
def test_text_that_pages_contain_is_no_error(character: str) -> None:
    """In names, subject, file names and headers for people: cleaned or encoded; no header comes of it."""
    text = f"Ann{character}X: y"
    message = message_of(text, [(text, "ann@example.org")], "b", extra_headers={"X-Name": text}, sender=(text, "a@b.c"))
    message.attach(text + ".pdf", "application/pdf", PNG, headers={"X-Part": text})
    composed = composed_of(message)
    wire = composed.wire()
    assert wire.isascii()
    names = {line.partition(b":")[0] for line in wire.splitlines() if line[:1].strip() and b":" in line}
    assert b"X" not in names
    parsed = message_from_bytes(wire)
    wanted = {text, f"Ann{' '}X: y", "AnnX: y"}
    for raw in (parsed["Subject"], parsed["X-Name"]):
        assert str(make_header(decode_header(raw.replace("\n", "")))) in wanted
    assert attachment_of(read(composed)).get_filename() in {f"{one}.pdf" for one in wanted}
    assert not {"\u2028", "\u2029", "\x85", "\x0b"} & set(composed.subject)
