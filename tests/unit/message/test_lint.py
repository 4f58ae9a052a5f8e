"""What is likely wrong with a message."""

from __future__ import annotations

from typing import Any

import pytest

from outbox.message.lint import LARGEST, of_html, of_message, of_template
from outbox.message.slips import meant
from tests.unit.message.composing import composed_of, message_of

HIDDEN = '<div style="display:none">What it is about</div>'


def checks(html: str | None, body: str | None = None, **more: Any) -> list[str]:
    """The names of what is found in a composed message."""
    return [one.check for one in of_message(composed_of(message_of(html=html, body=body, **more)).wire())]


def test_a_good_message_has_nothing() -> None:
    """Inlined images, links that are in the text, a preheader, alt texts."""
    html = f'{HIDDEN}<p>Hello <img src="cid:logo" alt=""> <a href="https://x.org/?a=1&amp;b=2">open</a></p>'
    message = message_of(html=html)
    message.attach("a.png", "image/png", b"\x89PNG\r\n\x1a\n", headers={"Content-ID": "<logo>"})
    assert of_message(composed_of(message).wire()) == []
    assert checks(None, "Hello") == []


@pytest.mark.parametrize(
    ("html", "body", "found"),
    [
        (HIDDEN + '<a href="https://x.org/1">a</a>', "https://x.org/2", ["link-not-in-text"]),
        (HIDDEN + '<a href="mailto:a@b.c">a</a><a href="#top">b</a>', "write to a@b.c", []),
        (HIDDEN + '<a href="https://x.org/long/one">a</a>', "https://x.org/\r\nlong/one", []),
        (HIDDEN + "<p>" + "x" * LARGEST, None, ["too-large"]),
        ("<p>Hello Ann, this</p>", None, ["no-preheader"]),
        ("<head><title>T</title></head><body><div hidden>x</div><p>Hello</p>", None, []),
        (HIDDEN + 'x<img src="https://x.org/a.png">', None, ["no-alt"]),
        (HIDDEN + '<a href="http://x.org/">a</a>', None, ["http-link"]),
        (HIDDEN + '<a href="http://localhost:5000/">a</a><a href="http://127.0.0.1/">a</a>', None, []),
        (HIDDEN + '<a href="/reset">a</a>', None, ["relative-link"]),
        (HIDDEN + '<a href="https://[x/">a</a>', None, ["bad-link"]),
        ('<link rel="stylesheet" href="https://x.org/a.css">' + HIDDEN, "x", ["style-sheet"]),
        ("<style>@import url('https://x.org/a.css');</style>" + HIDDEN, "x", ["style-sheet"]),
        (HIDDEN + '<img src="cid:logo" alt="">', None, ["no-text", "no-part"]),
        (HIDDEN + "x", "Hello {{ name }}", ["placeholder"]),
        (HIDDEN + '<a href="https://x.org/1">a</a>' * 2, "x", ["link-not-in-text"]),
        (HIDDEN + '<p style="position: absolute; color: var(--x)">x', "x", ["unsupported-css"] * 2),
        (
            "<style>p { display: grid } a::after { content: ';position:fixed' }</style>" + HIDDEN,
            "x",
            ["unsupported-css"] * 2,
        ),
        ("<style>@media screen { p { position: fixed } } b { position: relative }</style>" + HIDDEN, "x", []),
        ("<style>p { background: url(a?position:fixed;top:0); /* transform: none */ }</style>" + HIDDEN, "x", []),
    ],
)
def test_each_check(html: str, body: str | None, found: list[str]) -> None:
    """By its name, each thing once."""
    assert checks(html, body) == found


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"recipients": ["ann@gmial.com"]}, ["address"]),
        ({"recipients": [("None", "ann@example.org")]}, ["name"]),
        ({"sender": ("{{ shop }}", "shop@example.com")}, ["name"]),
        ({"reply_to": "help@outlok.com"}, ["address"]),
        ({"subject": "Order %(number)s"}, ["placeholder"]),
        ({"subject": "<built-in method title of str object at 0x7f>"}, ["placeholder"]),
        ({"recipients": [("Nona", "nona@example.org")]}, []),
    ],
)
def test_slips_in_header_fields(fields: dict[str, Any], found: list[str]) -> None:
    """Of the addresses, their names, and the subject."""
    assert checks(None, "x", **fields) == found


def test_recipients_whom_the_message_does_not_name() -> None:
    """Bcc is in the envelope alone."""
    content = composed_of(message_of(body="x")).wire()
    (one,) = of_message(content, ["bob@hotmial.com"])
    assert str(one) == "bob@hotmial.com looks like a slip of hotmail.com. Check it with its owner."


def test_html_without_a_text_part() -> None:
    """Made elsewhere: ours always has one."""
    content = b"From: a@b.c\r\nContent-Type: text/html\r\n\r\n" + HIDDEN.encode()
    assert [one.check for one in of_message(content)] == ["no-text"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"Content-Type: text/html; charset=none\r\n\r\n<p>",
        b"\xff\xfe",
        b"Content-Type: multipart/mixed\r\n\r\n",
    ],
)
def test_no_message_makes_it_raise(content: bytes) -> None:
    """Stored messages may be anything."""
    of_message(content)


def test_a_template_is_checked_without_its_values() -> None:
    """What Jinja will put in is not judged; blocks and comments are passed over."""
    source = """{% extends "layout.html" %}{# <img src="x"> #}
    <a href="{{ url_for('a', b='<c>') }}">a</a><a href="http://x.org/{{ id }}">b</a><a href="http://x.org/">c</a>
    <img src="{{ inline_image('a.png') }}"><link rel="stylesheet" href="{{ url_for('static', filename='a.css') }}">
    <style>@import "https://x.org/a.css";</style>"""
    assert [one.check for one in of_template(source)] == ["http-link", "no-alt", "style-sheet"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["<style>", "<a href=x>", "{{", "{%", "@import", "<img ", "<div hidden>", "<title>", "<style>a{b:url("]
)
def test_broken_html_takes_no_longer(piece: str) -> None:
    """In development it runs in a request."""
    list(of_html(piece * 10_000))
    of_template(piece * 10_000)


@pytest.mark.parametrize(
    ("domain", "other"),
    [
        ("gmial.com", "gmail.com"),
        ("gmal.com", "gmail.com"),
        ("ggmail.com", "gmail.com"),
        ("GNAIL.com", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("hotmial.com", "hotmail.com"),
        ("shop.cmo", "shop.com"),
        ("t-onlin.de", "t-online.de"),
        *(
            (real, None)
            for real in ("gmail.com", "ymail.com", "mail.com", "email.com", "yahoo.ca", "hotmail.es", "gmx.de")
        ),
        *((real, None) for real in ("web.de", "example.org", "x", "", "outlook.com", "googlemail.com")),
    ],
)
def test_slips_of_well_known_domains(domain: str, other: str | None) -> None:
    """One letter off, or two swapped; domains that are somebody's own are not."""
    assert meant(domain) == other
