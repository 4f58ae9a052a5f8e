"""A `flask_mail.Message` becomes bytes: headers, texts, the tree of parts, the envelope."""

from __future__ import annotations

import re
from datetime import timedelta, timezone
from typing import Any

import pytest
from markupsafe import Markup

from outbox.core.errors import AddressError, MessageError, MessageTooLargeError
from outbox.message.compose import new_unique
from tests.unit.message.composing import (
    NOW,
    PNG,
    UNIQUE,
    assert_refused,
    composed_of,
    message_of,
    read,
    text_of,
    tree_of,
    unsigned,
)


class Lazy:
    """A lazy string, as translation packages make them."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def test_the_one_bad_mail() -> None:
    """Everything that relays and readers stumble over in one mail: short lines, CRLF, 7-bit, the tree, the URL."""
    url = "<https://example.org/unsubscribe/" + "x" * 266 + ">"
    html = "<p>" + "日本語のテキスト " + "lang " * 1000 + '</p><img src="cid:logo">'
    message = message_of(
        subject="é" * 300,
        recipients=[("Jörg Müller", "joerg@faß.de")],
        sender=("Dr. Ö, Shop", "shop@Example.com"),
        body="日本語\nzwei",
        html=html,
        bcc=["secret@example.org"],
        extra_headers={"List-Unsubscribe": url},
    )
    message.attach("logo.png", "image/png", PNG, "inline", {"Content-ID": "<logo>"})
    message.attach("Übersicht.pdf", "application/pdf", b"%PDF" * 5000)
    composed = composed_of(message)
    wire = composed.wire()

    lines = wire.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert wire.isascii()
    head, _, _ = wire.partition(b"\r\n\r\n")
    assert f"List-Unsubscribe: {url}".encode() in re.sub(rb"\r\n(?=[ \t])", b"", head)
    assert len(re.findall(rb"(?im)^date:", head)) == 1
    assert re.findall(rb"(?im)^message-id: (.*)\r$", head) == [f"<{UNIQUE}@example.com>".encode()]
    assert b"secret" not in wire

    parsed = read(composed)
    assert tree_of(parsed) == ("mixed(alternative(text/plain, related(text/html, image/png)), application/pdf)")
    assert parsed["Subject"] == "é" * 300
    assert text_of(parsed, "html") == html
    assert text_of(parsed, "plain") == "日本語\r\nzwei"
    assert [part.get_filename() for part in parsed.walk() if part.get_filename()] == ["logo.png", "Übersicht.pdf"]
    assert [blob.data for _, blob in composed.blobs] == [b"%PDF" * 5000]
    assert composed.recipients == ("joerg@xn--fa-hia.de", "secret@example.org")


def test_a_plain_mail_looks_like_this() -> None:
    """To the byte: the order of the headers, and no container."""
    message = message_of("Hi", ["Ann <ann@example.org>"], "Hello\nAnn\n", cc=["c@x.org"], reply_to="r@x.org")
    assert composed_of(message).wire().decode() == (
        "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        "From: shop@example.com\r\n"
        "To: Ann <ann@example.org>\r\n"
        "Cc: c@x.org\r\n"
        "Reply-To: r@x.org\r\n"
        "Subject: Hi\r\n"
        f"Message-ID: <{UNIQUE}@example.com>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n"
        "Hello\r\n"
        "Ann\r\n"
    )


@pytest.mark.parametrize(
    ("arguments", "attachments", "tree"),
    [
        ({"body": "a"}, [], "text/plain"),
        ({}, [], "text/plain"),
        ({"html": "a"}, [], "alternative(text/plain, text/html)"),
        ({"body": "a", "html": ""}, [], "text/plain"),
        ({"body": "a"}, ["x"], "mixed(text/plain, a/b)"),
        ({"body": "a", "html": "a"}, ["x"], "mixed(alternative(text/plain, text/html), a/b)"),
        ({"html": "<img src=cid:i>"}, ["i"], "alternative(text/plain, related(text/html, a/b))"),
        ({"html": "<img src=cid:I>"}, ["i"], "mixed(alternative(text/plain, text/html), a/b)"),
        ({"html": "<p style='background: url(CID:i)'>"}, ["i"], "alternative(text/plain, related(text/html, a/b))"),
        (
            {"html": "<img src=cid:i><img src=cid:j>"},
            ["i", "x", "j"],
            "mixed(alternative(text/plain, related(text/html, a/b, a/b)), a/b)",
        ),
        ({"body": "a", "alts": {"calendar": "b"}}, [], "alternative(text/plain, text/calendar)"),
        (
            {"html": "a", "alts": {"html": "a", "x-amp-html": "b"}},
            [],
            "alternative(text/plain, text/x-amp-html, text/html)",
        ),
        ({"alts": {"plain": "b"}, "html": "c"}, [], "alternative(text/plain, text/html)"),
    ],
)
def test_there_is_no_container_that_is_not_needed(arguments: dict[str, Any], attachments: list[str], tree: str) -> None:
    """Inline images that the HTML refers to stand beside it, the rest behind everything."""
    message = message_of(**arguments)
    for name in attachments:
        headers = {} if name == "x" else {"Content-ID": f"<{name}>"}
        message.attach(None, "a/b", b"x", "inline", headers)
    assert tree_of(read(composed_of(message))) == tree


@pytest.mark.parametrize(
    "text", ["a", "a\n", "a\n\n", "\n a \t", "", "a\rb\r\nc\nd", "\x0b\x0c\u2028\0", "From me\n.\n..", "日本語"]
)
@pytest.mark.parametrize("charset", [None, "iso-8859-1", "utf-16"])
def test_a_text_comes_back_with_its_line_ends_as_crlf(text: str, charset: str | None) -> None:
    """CRLF, LF and a lone CR are line ends; nothing else is touched."""
    parsed = read(composed_of(message_of(body=text or None, html=text + "<p>", charset=charset)))
    canonical = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    assert text_of(parsed, "html") == canonical + "<p>"
    if text:
        assert text_of(parsed, "plain") == canonical


def test_html_alone_gets_a_text_with_its_links() -> None:
    """Every link's URL stands in the text."""
    parsed = read(composed_of(message_of(html='<h1>Hi</h1><a href="https://x.org/?a=1&amp;b=2">Confirm</a>')))
    assert text_of(parsed, "plain") == "Hi\r\n\r\nConfirm <https://x.org/?a=1&b=2>"


def test_a_charset_is_kept_where_it_can_be() -> None:
    """Each text in the charset asked for if that can hold it, else in UTF-8."""
    parsed = read(composed_of(message_of(body="grün", html="日本", charset="latin1")))
    assert [part.get_content_charset() for part in parsed.iter_parts()] == ["iso-8859-1", "utf-8"]


def test_lazy_strings_and_markup_are_text() -> None:
    """As Flask-Mail's force_text takes them, in every field that is text; markup is not escaped again."""
    message = message_of(Lazy("Grüße"), [Lazy("ann@example.org")], Lazy("a & b"), Markup("<p>a &amp; b</p>"))
    message.extra_headers = {"X-A": Lazy("x")}
    message.reply_to = ("Bob", Lazy("bob@example.org"))
    parsed = read(composed_of(message))
    assert parsed["Subject"] == "Grüße"
    assert parsed["X-A"] == "x"
    assert parsed["Reply-To"] == "Bob <bob@example.org>"
    assert (text_of(parsed, "plain"), text_of(parsed, "html")) == ("a & b", "<p>a &amp; b</p>")
    assert type(composed_of(message).subject) is str
    assert type(composed_of(message_of(Markup("a"))).subject) is str


def test_bytes_are_text_if_they_are_utf_8() -> None:
    """As Flask-Mail takes them; others are refused."""
    assert text_of(read(composed_of(message_of(body="grün".encode()))), "plain") == "grün"
    assert_refused(MessageError, "body", body="grün".encode("latin-1"))


def test_a_folded_subject_is_unfolded() -> None:
    """RFC 5322 §2.2.3, as Flask-Mail accepts it."""
    composed = composed_of(message_of("Hello\r\n there\r\n\tyou"))
    assert composed.subject == read(composed)["Subject"] == "Hello there\tyou"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Message-ID", "<own@example.org>"),
        ("message-id", "<own@example.org>"),
        ("Date", "Mon, 20 Nov 1995 19:12:08 -0500"),
        ("Reply-To", "Ann <a@b.c>, b@b.c"),
        ("Sender", "secretary@example.org"),
        ("Auto-Submitted", "no"),
    ],
)
def test_some_headers_may_be_replaced(name: str, value: str) -> None:
    """And stand once then."""
    parsed = read(composed_of(message_of(reply_to="r@x.org", extra_headers={name: value})))
    assert parsed.get_all(name) == [value]


def test_auto_submitted_can_be_taken_away() -> None:
    """By None; nothing else can be None."""
    assert "Auto-Submitted" not in read(composed_of(message_of(extra_headers={"Auto-Submitted": None})))
    assert_refused(MessageError, "extra_headers['X-A']", extra_headers={"X-A": None})


def test_who_gets_it() -> None:
    """Each recipient once in the envelope, in order; Bcc in no header; both kept for look-up."""
    composed = composed_of(
        message_of(
            recipients=["A <a@X.org>", "a@x.org", "A@x.org"], cc=["a@x.org", "c@x.org"], bcc=["b@x.org", "c@x.org"]
        )
    )
    assert composed.recipients == ("a@x.org", "A@x.org", "c@x.org", "b@x.org")
    assert dict(composed.headers)["To"] == "A <a@X.org>, A@x.org"
    assert dict(composed.headers)["Cc"] == "a@x.org, c@x.org"
    assert b"b@x.org" not in composed.wire()
    assert ("bcc", "b@x.org") in composed.addresses
    assert ("from", "shop@example.com") in composed.addresses


def test_only_bcc_is_undisclosed() -> None:
    """RFC 5322 §3.4 has an empty group for it; some relays refuse mail without a To."""
    parsed = read(composed_of(message_of(recipients=[], bcc=["b@x.org"])))
    assert parsed["To"] == "undisclosed-recipients:;"
    assert "To" not in read(composed_of(message_of(recipients=[], cc=["b@x.org"])))


@pytest.mark.parametrize("recipients", [("a@b.c", "d@e.f"), {"a@b.c"}, frozenset({"a@b.c"}), iter(["a@b.c"])])
def test_recipients_may_be_any_collection(recipients: Any) -> None:
    """Tuples, sets and iterators as Flask-Mail takes them."""
    assert "a@b.c" in composed_of(message_of(recipients=recipients)).recipients


def test_the_sender_is_the_message_s_or_the_default() -> None:
    """A string, or a tuple of name and address."""
    message = unsigned()
    assert dict(composed_of(message, default_sender=("Ö, Shop", "s@x.org")).headers)["From"] == '"Ö, Shop" <s@x.org>'
    message.sender = "own@x.org"
    assert composed_of(message, default_sender="s@x.org").envelope_from == "own@x.org"
    message.sender = ("", "")
    with pytest.raises(AddressError):
        composed_of(message)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (None, "shop@example.com"),
        ("", ""),
        ("<>", ""),
        ("B <b@FAß.de>", "b@xn--fa-hia.de"),
        (("B", "b@x.org"), "b@x.org"),
    ],
)
def test_the_envelope_s_sender(given: Any, used: str) -> None:
    """The null sender is allowed; the header stays what it is."""
    composed = composed_of(message_of(), envelope_from=given)
    assert composed.envelope_from == used
    assert dict(composed.headers)["From"] == "shop@example.com"


def test_an_author_beyond_ascii_needs_smtputf8() -> None:
    """The address stands in the header as raw UTF-8 (RFC 6532), everything else stays as it is."""
    composed = composed_of(message_of(body="ä", sender=("Jörg", "jörg@faß.de")))
    assert composed.smtputf8
    assert composed.utf8 is None
    wire = composed.wire()
    assert not wire.isascii()
    assert wire.replace("jörg@xn--fa-hia.de".encode(), b"").isascii()


def test_a_local_part_beyond_ascii_in_bcc_is_a_matter_of_its_own_delivery() -> None:
    """No header holds it, so the other recipients can be reached by any server."""
    composed = composed_of(message_of(bcc=["jörg@faß.de"]), envelope_from="b@x.org")
    assert composed.recipients == ("ann@example.org", "jörg@xn--fa-hia.de")
    assert not composed.smtputf8
    assert composed.wire().isascii()


def test_ascii_addresses_need_no_smtputf8() -> None:
    """Names, subjects, texts and domains beyond ASCII go anywhere."""
    composed = composed_of(message_of("ä", [("Ö", "o@faß.de")], "ü"))
    assert not composed.smtputf8
    assert composed.wire().isascii()


def test_the_date_is_the_message_s_or_now() -> None:
    """In UTC, from seconds since 1970 or from an aware time in any zone."""
    assert dict(composed_of(message_of(date=0)).headers)["Date"] == "Thu, 01 Jan 1970 00:00:00 +0000"
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-5)))
    assert dict(composed_of(message_of(), now=elsewhere).headers)["Date"] == "Sun, 22 Nov 2026 10:00:00 +0000"


def test_the_limit_is_of_the_whole_wire_form() -> None:
    """Blobs count as they will be encoded; up to the limit it is accepted."""
    message = message_of()
    message.attach("a", "a/b", b"x" * 100_000)
    size = composed_of(message).size
    assert size > 136_000
    assert composed_of(message, max_bytes=size).size == size
    with pytest.raises(MessageTooLargeError, match="OUTBOX_MAX_MESSAGE_BYTES"):
        composed_of(message, max_bytes=size - 1)


def test_the_same_input_gives_the_same_bytes() -> None:
    """Nothing is random and no clock is read but for the arguments; `new_unique` is fresh each time."""
    message = message_of(html="<p>", body="a")
    assert composed_of(message).wire() == composed_of(message).wire()
    assert message.date is None
    assert re.fullmatch("[0-9a-f]{32}", new_unique())
    assert new_unique() != new_unique()


def test_smtp_options_are_carried() -> None:
    """Each a word; a line break in one would be a command."""
    composed = composed_of(message_of(mail_options=["RET=HDRS"], rcpt_options=["NOTIFY=FAILURE,DELAY"]))
    assert (composed.mail_options, composed.rcpt_options) == (("RET=HDRS",), ("NOTIFY=FAILURE,DELAY",))
    assert_refused(MessageError, "mail_options", mail_options=["RET=HDRS\r\nRCPT TO:<x@y.z>"])
    assert_refused(MessageError, "rcpt_options", rcpt_options="NOTIFY=NEVER")
