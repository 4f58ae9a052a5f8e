"""Subjects, texts, alternatives, dates, charsets, attachments."""

from __future__ import annotations

from datetime import UTC, datetime
from email.header import Header
from pathlib import Path
from typing import Any

import flask_mail
from markupsafe import Markup
from werkzeug.local import LocalProxy

from tests.flask.comparison.lazy import BabelString, SpeakString
from tests.flask.comparison.outcomes import Row, differs, refused, row, sends

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
LOREM = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 40


def attach(*arguments: Any, **more: Any) -> Any:
    """A step that attaches something."""
    return lambda message: message.attach(*arguments, **more)


SUBJECTS: list[Row] = [
    row("subject: plain", subject="Your order"),
    row("subject: accents", subject="Bestellung bestätigt"),
    row("subject: emoji", subject="🎉 Done"),
    row("subject: Chinese, long", subject="您的订单已确认" * 12),
    row(
        "subject: accents, long",
        differs("Blanks survive", subject="Größe übermäßig " * 20),
        subject="Größe übermäßig " * 20,
    ),
    row("subject: ASCII, long", subject="word " * 60),
    row("subject: one long word", subject="w" * 300),
    row("subject: empty", subject=""),
    row("subject: None", subject=None),
    row("subject: not given", subject=""),
    row("subject: blanks around", differs("Blanks survive", subject="  padded  "), subject="  padded  "),
    row("subject: only blanks", differs("Blanks survive", subject="   "), subject="   "),
    row("subject: two blanks inside", subject="a  b"),
    row("subject: a tab", subject="a\tb"),
    row("subject: encoded words", subject="=?utf-8?q?caf=C3=A9?="),
    row("subject: half an encoded word", subject="=?utf-8?q?caf"),
    row("subject: question mark and equals", subject="a=?b?=c"),
    row("subject: a colon", subject="Re: Fwd: hello: world"),
    row("subject: quotes", subject='"quoted" \\ backslash'),
    row("subject: bytes", sends(subject="bytes"), subject=b"bytes"),
    row("subject: a number", subject=5),
    row("subject: Markup", subject=Markup("a &amp; b")),
    row("subject: folded", subject="a\r\n b"),
    row("subject: folded by a tab", subject="a\r\n\tb"),
    row("subject: line feed", subject="a\nBcc: evil@example.org"),
    row("subject: carriage return", subject="a\rBcc: evil@example.org"),
    row("subject: CRLF", subject="a\r\nBcc: evil@example.org"),
    row("subject: NUL", refused("Line breaks and NULs in headers"), subject="a\0b"),
    row(
        "subject: vertical tab",
        differs(
            "Control characters in headers are taken out",
            subject="a b",
            date="now",
            from_=[("", "shop@example.com")],
            to=[("", "ann@example.org")],
            text="Text",
        ),
        subject="a\x0bb",
    ),
    row("subject: C1 control", subject="a\x85b"),
    row("subject: line separator", subject="a\u2028b"),
    row("subject: paragraph separator", subject="a\u2029b"),
    row("subject: escape", differs("Control characters in headers are taken out", subject="ab"), subject="a\x1bb"),
    row("subject: half a surrogate pair", subject="a\ud800b"),
    row("subject: LocalProxy", subject=LocalProxy(lambda: "proxied")),
    row("subject: LocalProxy, accents", sends(subject="é"), subject=LocalProxy(lambda: "é")),
    row("subject: lazy string, flask_babel", subject=BabelString(lambda: "Grüße")),
    row("subject: lazy string, speaklater", sends(subject="Grüße"), subject=SpeakString(lambda: "Grüße")),
    row("subject: Header", sends(subject="Grüße"), subject=Header("Grüße", "utf-8")),
    row("subject: iso-8859-1", subject="Grüße", charset="iso-8859-1"),
    row("subject: not in the charset", subject="€ 日本", charset="iso-8859-1"),
    row("subject: 1,000 characters", refused("Subjects of more than 998 characters"), subject="x " * 500),
]

TEXTS: list[Row] = [
    row("text: plain", body="Hello"),
    row("text: several lines", body="a\nb\n\nc\n"),
    row("text: CRLF", body="a\r\nb\r\n"),
    row("text: carriage returns", body="a\rb"),
    row("text: accents", body="Grüße"),
    row("text: Japanese", body="こんにちは" * 50),
    row("text: long line", body=LOREM),
    row("text: very long line", body="x" * 5000),
    row("text: dots at line starts", body=".\n..\n.a\n"),
    row("text: From at a line start", body="From me\nFrom you\n"),
    row("text: trailing blanks", body="a \nb\t\n"),
    row("text: equals signs", body="a=b=3D=\n"),
    row("text: empty", body=""),
    row("text: None", body=None),
    row("text: bytes", body=b"bytes"),
    row("text: Markup", body=Markup("<b>a</b>")),
    row("text: NUL", body="a\0b"),
    row("text: control characters", body="a\x0b\x0c\x1b\x85\u2028b"),
    row("text: half a surrogate pair", body="a\ud800b"),
    row("text: a number", body=5),
    row("text: LocalProxy", body=LocalProxy(lambda: "proxied")),
    row("text: lazy string, flask_babel", body=BabelString(lambda: "Grüße")),
    row("text: lazy string, speaklater", body=SpeakString(lambda: "Grüße")),
    row("text: latin-1", body="Grüße", charset="iso-8859-1"),
    row("text: not in the charset", sends(text="€"), body="€", charset="iso-8859-1"),
    row("text: us-ascii", body="Hello", charset="us-ascii"),
    row("text: iso-2022-jp", body="こんにちは", charset="iso-2022-jp"),
    row("text: shift_jis", body="こんにちは", charset="shift_jis"),
    row("text: utf-16", body="Grüße", charset="utf-16"),
    row("text: unknown charset", body="Grüße", charset="klingon"),
    row(
        "html: only",
        differs("HTML without a text gets one", text="Hello there <https://example.org/a?b=1&c=2>"),
        body=None,
        html="<p>Hello <a href='https://example.org/a?b=1&amp;c=2'>there</a></p>",
    ),
    row(
        "html: only, with an empty text",
        differs("HTML without a text gets one", text="Hello"),
        body="",
        html="<p>Hello</p>",
    ),
    row("html: and text", html="<p>Größe</p>"),
    row("html: long line", html="<p>" + LOREM + "</p>"),
    row("html: Markup", html=Markup("<p>Hello</p>")),
    row("html: LocalProxy", html=LocalProxy(lambda: "<p>Hello</p>")),
    row("html: lazy string, flask_babel", html=BabelString(lambda: "<p>Hello</p>")),
    row("html: empty", html=""),
    row("alts: html", own=differs("HTML in `alts`", html="<p>alt</p>"), alts={"html": "<p>alt</p>"}),
    row("alts: html and html=", html="<p>html</p>", alts={"html": "<p>alt</p>"}),
    row("alts: pairs", own=differs("HTML in `alts`", html="<p>alt</p>"), alts=[("html", "<p>alt</p>")]),
    row("alts: calendar", alts={"calendar": "BEGIN:VCALENDAR\nEND:VCALENDAR"}),
    row("alts: html and calendar", html="<p>a</p>", alts={"calendar": "BEGIN:VCALENDAR\nEND:VCALENDAR"}),
    row("alts: amp", html="<p>a</p>", alts={"x-amp-html": "<html amp4email></html>"}),
    row("alts: whole type", differs("HTML in `alts`", html="<p>a</p>", attachments=[]), alts={"text/html": "<p>a</p>"}),
    row("alts: None in it", alts={"html": None}),
    row("date: seconds", date=0.0),
    row("date: whole seconds", date=1_000_000_000),
    row("date: not given"),
    row("date: before 1970", date=-86400.0),
    row("date: a datetime", date=datetime(2026, 1, 1, tzinfo=UTC)),
    row("date: far off", date=1e18),
    row("date: text", date="yesterday"),
]

ATTACHMENTS: list[Row] = [
    row("attachment: text", then=attach("a.txt", "text/plain", "some text")),
    row(
        "attachment: text with accents",
        differs(
            "Text attachments are UTF-8",
            attachments=[("a.txt", "text/plain", "attachment", b"Gr\xc3\xbc\xc3\x9fe", [])],
        ),
        then=attach("a.txt", "text/plain", "Grüße"),
    ),
    row("attachment: text in bytes", then=attach("a.txt", "text/plain", "Grüße".encode())),
    row("attachment: CSV with CRLF", then=attach("a.csv", "text/csv", "a;b\r\n1;2\r\n")),
    row("attachment: CSV with LF", then=attach("a.csv", "text/csv", "a;b\n1;2\n")),
    row("attachment: PNG", then=attach("a.png", "image/png", PNG)),
    row("attachment: PDF, large", then=attach("a.pdf", "application/pdf", bytes(range(256)) * 400)),
    row("attachment: empty", then=attach("a.bin", "application/octet-stream", b"")),
    row("attachment: empty text", then=attach("a.txt", "text/plain", "")),
    row("attachment: type by name", then=attach("a.pdf", data=b"%PDF")),
    row("attachment: unknown ending", then=attach("a.zzz", data=b"\0\1")),
    row(
        "attachment: no name",
        differs(
            "Attachments without a name are attachments",
            attachments=[("", "application/pdf", "attachment", b"%PDF", [])],
        ),
        then=attach(None, "application/pdf", b"%PDF"),
    ),
    row(
        "attachment: no name, no type, text",
        differs(
            "Attachments without a name are attachments", attachments=[("", "text/plain", "attachment", b"text", [])]
        ),
        then=attach(data="text"),
    ),
    row("attachment: empty name", then=attach("", "application/pdf", b"%PDF")),
    row("attachment: accents", then=attach("Übersicht.pdf", "application/pdf", b"%PDF")),
    row("attachment: Chinese", then=attach("报告.pdf", "application/pdf", b"%PDF")),
    row("attachment: long name", then=attach("x" * 200 + ".pdf", "application/pdf", b"%PDF")),
    row("attachment: long name with accents", then=attach("ü" * 100 + ".pdf", "application/pdf", b"%PDF")),
    row("attachment: blanks in the name", then=attach("my report.pdf", "application/pdf", b"%PDF")),
    row("attachment: quotes in the name", then=attach('a "b" \\c.pdf', "application/pdf", b"%PDF")),
    row("attachment: semicolon in the name", then=attach("a; b=c.pdf", "application/pdf", b"%PDF")),
    row("attachment: folders in the name", then=attach("/srv/a/b.pdf", "application/pdf", b"%PDF")),
    row("attachment: a percent sign", then=attach("100%25.pdf", "application/pdf", b"%PDF")),
    row(
        "attachment: a Path",
        sends(attachments=[("report.pdf", "application/pdf", "attachment", b"%PDF", [])]),
        then=attach(Path("/srv/app/secret/report.pdf"), "application/pdf", b"%PDF"),
    ),
    row(
        "attachment: a Path without a type",
        sends(attachments=[("report.pdf", "application/pdf", "attachment", b"%PDF", [])]),
        then=attach(Path("/srv/app/report.pdf"), data=b"%PDF"),
    ),
    row("attachment: LocalProxy name", then=attach(LocalProxy(lambda: "a.pdf"), "application/pdf", b"%PDF")),
    row(
        "attachment: lazy name",
        sends(attachments=[("Größe.pdf", "application/pdf", "attachment", b"%PDF", [])]),
        then=attach(BabelString(lambda: "Größe.pdf"), "application/pdf", b"%PDF"),
    ),
    row("attachment: LocalProxy data", then=attach("a.pdf", "application/pdf", LocalProxy(lambda: b"%PDF"))),
    row("attachment: LocalProxy text", then=attach("a.txt", "text/plain", LocalProxy(lambda: "proxied"))),
    row("attachment: bytearray", then=attach("a.pdf", "application/pdf", bytearray(b"%PDF"))),
    row("attachment: memoryview", then=attach("a.pdf", "application/pdf", memoryview(b"%PDF"))),
    row("attachment: an open file", then=attach("a.pdf", "application/pdf", open(__file__, "rb"))),  # noqa: SIM115
    row(
        "attachment: tab in the name",
        differs(
            "Control characters in headers are taken out",
            attachments=[("a b.pdf", "application/pdf", "attachment", b"%PDF", [])],
        ),
        then=attach("a\tb.pdf", "application/pdf", b"%PDF"),
    ),
    row(
        "attachment: line break in the name",
        refused("Line breaks and NULs in headers"),
        then=attach("a\r\nX: y.pdf", "application/pdf", b"%PDF"),
    ),
    row(
        "attachment: line break in the type",
        refused("Line breaks and NULs in headers"),
        then=attach("a.pdf", "application/pdf\r\nX: y", b"%PDF"),
    ),
    row("attachment: type without slash", then=attach("a.pdf", "pdf", b"%PDF")),
    row("attachment: type with parameters", then=attach("a.csv", "text/csv; header=present", b"a;b")),
    row("attachment: charset in the type", then=attach("a.txt", "text/plain; charset=iso-8859-1", "Grüße")),
    row("attachment: upper case type", then=attach("a.pdf", "Application/PDF", b"%PDF")),
    row("attachment: inline, not referred to", then=attach("a.png", "image/png", PNG, "inline")),
    row(
        "attachment: inline, referred to",
        html='<img src="cid:logo">',
        then=attach("a.png", "image/png", PNG, "inline", {"Content-ID": "<logo>"}),
    ),
    row(
        "attachment: attachment, referred to",
        differs(
            "Images that the HTML refers to are inline",
            attachments=[("a.png", "image/png", "inline", PNG, [("content-id", "<logo>")])],
        ),
        html='<img src="cid:logo">',
        then=attach("a.png", "image/png", PNG, headers={"Content-ID": "<logo>"}),
    ),
    row(
        "attachment: Content-ID without brackets",
        differs(
            "Content-ID gets its angle brackets",
            attachments=[("a.png", "image/png", "attachment", PNG, [("content-id", "<a>")])],
        ),
        then=attach("a.png", "image/png", PNG, headers={"Content-ID": "a"}),
    ),
    row("attachment: headers", then=attach("a.pdf", "application/pdf", b"%PDF", headers={"X-Part": "1"})),
    row("attachment: odd disposition", then=attach("a.pdf", "application/pdf", b"%PDF", "form-data")),
    row("attachment: upper case disposition", then=attach("a.pdf", "application/pdf", b"%PDF", "ATTACHMENT")),
    row(
        "attachment: a mail",
        differs(
            "Messages and multiparts as attachments arrive",
            attachments=[("a.eml", "message/rfc822", "attachment", b"Subject: a\n\nb\n", [])],
        ),
        then=attach("a.eml", "message/rfc822", b"Subject: a\r\n\r\nb\r\n"),
    ),
    row(
        "attachment: a nameless mail",
        differs(
            "Attachments without a name are attachments",
            attachments=[("message.eml", "message/rfc822", "attachment", b"Subject: a\n\nb\n", [])],
        ),
        then=attach(None, "message/rfc822", b"Subject: a\r\n\r\nb\r\n"),
    ),
    row("attachment: a calendar", then=attach("a.ics", "text/calendar; method=REQUEST", "BEGIN:VCALENDAR\r\n")),
    row(
        "attachment: multipart",
        differs(
            "Messages and multiparts as attachments arrive",
            attachments=[("a.bin", "application/octet-stream", "attachment", b"abc", [])],
        ),
        then=attach("a.bin", "multipart/mixed", b"abc"),
    ),
    row(
        "attachment: with html only",
        differs("HTML without a text gets one", text="a"),
        body=None,
        html="<p>a</p>",
        then=attach("a.pdf", "application/pdf", b"%PDF"),
    ),
    row("attachment: several of one name", then=lambda message: [message.attach("a.pdf", data=b"%PDF")] * 3),
    row("attachment: by the constructor", attachments=[flask_mail.Attachment("a.pdf", "application/pdf", b"%PDF")]),
    row("attachment: a tuple of them", attachments=(flask_mail.Attachment("a.pdf", "application/pdf", b"%PDF"),)),
    row("attachment: ASCII names", config={"MAIL_ASCII_ATTACHMENTS": True}, then=attach("Übersicht.pdf", data=b"%PDF")),
    row("attachment: ASCII names, nothing left", config={"MAIL_ASCII_ATTACHMENTS": True}, then=attach("报", data=b"%")),
]
