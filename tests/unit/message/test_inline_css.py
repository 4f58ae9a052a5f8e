"""CSS in attributes, and what stays in its block."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

pytest.importorskip("css_inline", reason="the extra html is not installed")

from outbox.message.inline_css import inlined, strengthened


def test_rules_become_attributes() -> None:
    """Under what the author wrote there; a style that is empty then is gone, and text stays as it was."""
    made = inlined(
        '<style>p { color: red; margin: 0 } .x > td { padding: 3px }</style><p style="margin: 1px">Grüße &amp; 1 €</p>'
        '<table><tr class="x"><td>1</td></tr></table>'
    )
    assert '<p style="color: red;margin: 1px">Grüße &amp; 1 €</p>' in made
    assert '<td style="padding: 3px;">' in made
    assert "<style" not in made


@pytest.mark.parametrize(
    "html",
    [
        "<p>Hello</p>",
        '<p style="color:red">x</p>',
        "<!--[if mso]><style>p{color:red}</style><![endif]--><p>x</p>",
        "",
        "<style",
        "<style>p{color:red}</style><p>" + "<b>" * 5000,
    ],
)
def test_what_has_nothing_to_inline_stays_as_it_was(html: str) -> None:
    """To the byte; so do thousands of tags within one another, at which css-inline ends the process."""
    assert inlined(html) == html


def test_what_no_attribute_can_say_stays() -> None:
    """@media, :hover and @font-face, with the weight to win against attributes; Outlook's comments; style sheets."""
    made = inlined(
        '<link rel="stylesheet" href="https://x.example/a.css"><style>@import url("https://x.example/;{b}.css");'
        "a{color:blue} a:hover{color:green} @font-face{font-family:X;src:url(x;y)}"
        "@media (prefers-color-scheme: dark){a{color:white;background:url('a;b') !important}}</style>"
        "<!--[if mso]><style>a{color:black}</style><![endif]--><a href='#x'>x</a>"
    )
    assert '<a href="#x" style="color: blue;">' in made
    assert "a:hover { color: green !important; }" in made
    assert "@media (prefers-color-scheme: dark){a{color:white !important;background:url('a;b') !important}}" in made
    assert "@font-face{font-family:X;src:url(x;y)}" in made
    assert '<link rel="stylesheet" href="https://x.example/a.css">' in made
    assert '@import url("https://x.example/;{b}.css");' in made
    assert "<!--[if mso]><style>a{color:black}</style><![endif]-->" in made


def test_a_block_for_some_media_is_not_inlined() -> None:
    """css-inline would write the dark colours into the attributes of all readers."""
    made = inlined(
        '<style media="(prefers-color-scheme: dark)">p{color:white}</style><style media=print>p{color:black}</style>'
        '<style media="screen">p{color:red}</style><p>x</p>'
    )
    assert '<p style="color: red;">' in made
    assert '<style media="(prefers-color-scheme: dark)">p{color:white !important}</style>' in made
    assert '<style media="print">p{color:black !important}</style>' in made
    assert "data-" not in made


@pytest.mark.parametrize(
    ("css", "strong"),
    [
        ("", ""),
        ("a{color:red", "a{color:red"),
        ("a{color:red}", "a{color:red !important}"),
        ("a { color : red ; /* ; */ margin:0 }", "a { color : red !important ; /* ; */ margin:0 !important }"),
        ("a{b:c!important;d:e ! IMPORTANT}", "a{b:c!important;d:e ! IMPORTANT}"),
        ("@media x{@media y{a{b:c}}}", "@media x{@media y{a{b:c !important}}}"),
        ("@keyframes k{from{a:b}to{c:d}}", "@keyframes k{from{a:b}to{c:d}}"),
        ("a{b:c;&:hover{d:e}}", "a{b:c;&:hover{d:e}}"),
        ("a{content:'}';b:url(x;y)}", "a{content:'}' !important;b:url(x;y) !important}"),
        ("a{;;}", "a{;;}"),
    ],
)
def test_the_weight_of_what_stays(css: str, strong: str) -> None:
    """Each declaration of a rule once; nothing else, and nothing at all in what is not plain CSS."""
    assert strengthened(css) == strong


def test_css_that_cannot_be_read_stays_as_it_was() -> None:
    """Whatever css-inline refuses."""
    html = '<style>a{color:red}</style><a style="color:@import url(x);\0:hover::x}"><b>'
    inlined(html)  # must not raise


def test_no_html_ends_the_process() -> None:
    """In a thread with a small stack, as some platforms have; a process of its own, since it could be its end."""
    code = """
import threading
from outbox.message.inline_css import inlined

def inline():
    head = "<style>p{color:red} b{color:red}</style>"
    for tags in ("<div>", "<table><tr><td>", "<p><b>", "<div></span>", "<b><p>", "<ul><li>", "<svg><g>"):
        inlined(head + tags * 50_000)
    deep = head + "<table><tr><td>" * 49 + "<b>x</b>" + "</td></tr></table>" * 49
    made.append(inlined(deep))

made = []
threading.stack_size(256 * 1024)
thread = threading.Thread(target=inline)
thread.start()
thread.join()
assert "<b style=" in made[0], "as deep as mail may be is inlined"
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["<style>", "<style ", "<style>a{", "<!--", "<style></style>", "<style>   ", "<style>/*", "<style>a{b:("]
)
def test_broken_html_takes_no_longer_than_sound_html(piece: str) -> None:
    """It runs in a request, perhaps over what a visitor wrote."""
    inlined(piece * (200_000 // len(piece)))


@pytest.mark.timeout(20)
def test_rules_times_tags_are_bounded() -> None:
    """It runs in a request."""
    rules = "".join(f"p:nth-child({n}) b{{color:red}}" for n in range(20_000))
    began = time.monotonic()
    inlined(f"<style>{rules}</style>" + "<p><b>x</b></p>" * 20_000)
    assert time.monotonic() - began < 10
