"""The text part that is made of HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.message.html_to_text import from_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p>One</p><p>Two <b>bold</b>,\n three</p>", "One\n\nTwo bold, three"),
        ("a<br>b<br/><br>c", "a\nb\n\nc"),
        ("<head><title>T</title><style>p{}</style></head><body>x<script>alert(1)</script>y</body>", "xy"),
        ("<style>p{}</style>x<!-- no -->y", "xy"),
        ("Tom &amp; J&eacute;r&#244;me &lt;b&gt;", "Tom & Jérôme <b>"),
        ("<ul><li>one</li><li><p>two</p></li></ul>", "- one\n- two"),
        ("<ol><li>one<ul><li>sub</li></ul></li><li>two</li></ol>", "1. one\n  - sub\n2. two"),
        ("<table><tr><td>Item</td><td>1 €</td></tr><tr><th>Sum</th><td>2 €</td></tr></table>", "Item  1 €\nSum   2 €"),
        ('<img src="x" alt="Logo"> Hello <img src="y">', "Logo Hello"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<hr>b", "a\n\n" + "-" * 40 + "\n\nb"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    """Paragraphs, breaks, lists, cells, images and entities; no style, no script."""
    assert from_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="https://x.org/?a=1&amp;b=2">Confirm</a> now', "Confirm <https://x.org/?a=1&b=2> now"),
        ('<a href="https://x.org/">https://x.org/</a>', "https://x.org/"),
        ('<a href="https://x.org/"><img src="b.png"></a>', "<https://x.org/>"),
        ("<A title='a>b' HREF = https://x.org/ >t</A>.", "t <https://x.org/>."),
        ('<a href="https://x.org/">open', "open <https://x.org/>"),
        ('<a href="mailto:a@b.c">write</a> <a href="#top">up</a> <a>no</a>', "write <mailto:a@b.c> up no"),
        ('<a href="https://x.org/1">a<a href="https://x.org/2">b</a></a>', "a <https://x.org/1> b <https://x.org/2>"),
    ],
)
def test_the_url_of_every_link_stands_in_the_text(html: str, text: str) -> None:
    """Once, and not where the text already says it."""
    assert from_html(html) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "<table><tr><td>",
        "<td>",
        "<td colspan=100 rowspan=999>",
        "<tr>",
        "<ol reversed><li>",
        "<p hidden>",
        "<!--",
        "<a ",
        "<a href='",
        "<![CDATA[",
        "<",
        "&",
        "<!",
        "</",
        "<a href=x>y",
        "<ul><li>",
        "<script>",
        "<p x='",
    ],
)
def test_broken_html_takes_no_longer_than_sound_html(piece: str) -> None:
    """Users' HTML is read in a request: 100 KB of it must not stop the server, whatever it is."""
    from_html(piece * (100_000 // len(piece)))
    from_html(piece * (100_000 // len(piece)) + ">")


@given(st.text(alphabet="<>/!-[]&;\"'=ab ptrdlihf\n\0", max_size=80))
def test_nothing_makes_it_raise(html: str) -> None:
    """Broken HTML gives some text; no tag that was closed is in it."""
    from_html(html)


@pytest.mark.parametrize(
    "html", ["<![x[ hello", "<![if mso]>hello<![endif]>", "<!hello", "<a href='>hello", "<p hello"]
)
def test_marked_sections_of_word_processors_do_no_harm(html: str) -> None:
    """Conditional comments of Outlook stand in many mail templates."""
    assert isinstance(from_html(html), str)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            (
                "<table><tr><th>Artikel</th><th>Menge</th><th>Preis</th></tr><tr><td>Grüner Tee</td><td>2</td>"
                "<td>12,50&nbsp;€</td></tr><tr><td>Tasse</td><td>10</td><td>4,00&nbsp;€</td></tr>"
                "<tr><td colspan=2>Summe</td><td>16,50&nbsp;€</td></tr></table>"
            ),
            (
                "Artikel     Menge    Preis\nGrüner Tee      2  12,50\u00a0€\nTasse          10   4,00\u00a0€\n"
                "Summe              16,50\u00a0€"
            ),
        ),
        (
            "<table><caption>C</caption><tr><td rowspan=2>A<td>b<tr><td>c<tr><td>d<td>e<br>f</table>x",
            "C\nA  b\n   c\nd  e\n   f\n\nx",
        ),
        ("<table><tr><td>日本<td>x<tr><td>a<td>y</table>", "日本  x\na     y"),
        ("<table role=presentation><tr><td>A<td>b<tr><td>ccc<td>d</table>", "A b\nccc d"),
        ("<table><tr><td><table><tr><td>1<td>b<tr><td>22<td>c</table><td>side</table>", " 1  b\n22  c\n\nside"),
        ("<table><tr><td>one row<td>b</table>", "one row b"),
        ("<table><tr><td>a</td>beside<td>b</td></tr><tr><td>c</td><td>d</td></tr></table>", "abeside b\nc d"),
        (f"<table><tr><td>{'wide ' * 20}<td>b<tr><td>c<td>d</table>", f"{'wide ' * 20}b\nc d"),
        ("<ul><li><table><tr><td>a<td>b<tr><td>c<td>d</table><li>e</ul>", "- a  b\nc  d\n\n- e"),
    ],
)
def test_tables_with_data_are_columns(html: str, text: str) -> None:
    """Numbers end below one another; tables that lay out, or are too wide, are read in order."""
    assert from_html(html) == text


def test_a_table_with_a_link_says_where_it_leads() -> None:
    """In its cell."""
    html = '<table><tr><td>Order 1<td><a href="https://x.org/1">open</a><tr><td>Order 22<td><a href="https://x.org/2">open</a></table>'
    assert from_html(html) == "Order 1   open <https://x.org/1>\nOrder 22  open <https://x.org/2>"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ol start=5><li>a<li>b<li value=9>c<li>d</ol>", "5. a\n6. b\n9. c\n10. d"),
        ("<ol reversed><li>a<li>b<ol><li>x</ol><li>c</ol>", "3. a\n2. b\n  1. x\n1. c"),
        ("<ol reversed start=10><li>a<li>b</ol>", "10. a\n9. b"),
        ("<ol reversed><li>a<li value=7>b<li>c</ol>", "3. a\n7. b\n6. c"),
        ("<ol start=-1><li>a<li>b<li>c</ol>", "-1. a\n0. b\n1. c"),
        ("<ol start=x><li>a</ol>", "1. a"),
    ],
)
def test_numbers_of_lists_are_kept(html: str, text: str) -> None:
    """As the browser counts."""
    assert from_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<div style="display:none;max-height:0">Pre &#847;&zwnj;&nbsp;</div><p>Hello</p>', "Hello"),
        ("<p hidden>x<div>shown</div>", "shown"),
        ("<table><tr><td style='DISPLAY : none'>a<td>b<tr><td hidden>c</td><td>d</table>", "b\nd"),
        ("<ul><li style='display:none'>a<ul><li>b</ul><li>c</ul>", "- c"),
        ("<div hidden><div>a</div>b</div>c", "c"),
        ("<img hidden alt=a>b<br hidden>c", "bc"),
        ('<div style="max-height:0px;overflow:hidden">a</div>b', "b"),
        ('<div style="max-height:0.5em;overflow:hidden">a</div>b', "a\nb"),
        ('<span style="opacity:0">a</span><i style="visibility:hidden">b</i>c', "c"),
        ('<span style="opacity:0.5">a</span>', "a"),
        ('<div style="mso-hide:all"><a href="https://x.org/">Button</a></div>', "Button <https://x.org/>"),
        ('<div aria-hidden="true">a</div><td style="font-size:0"><p style="font-size:14px">b</p>', "a\n\nb"),
        ("&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;<p>a</p>", "a"),
    ],
)
def test_what_readers_do_not_see_is_left_out(html: str, text: str) -> None:
    """The preheader above all; not what is hidden from Outlook or from screen readers alone."""
    assert from_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<img alt="A"><img alt="B">c<img alt=" ">', "A B c"),
        ('<a href="https://x.org/"><img alt="A"><img alt="B"></a>', "A B <https://x.org/>"),
        (
            '<map><area href="https://x.org/1" alt="N"><area href="https://x.org/2" alt="S"></map>',
            "N <https://x.org/1> S <https://x.org/2>",
        ),
        ('<a href="mailto:a@b.c">a@b.c</a> <a href="tel:+49">+49</a>', "a@b.c +49"),
        ('<a href="https://x.org/1">https://x.org/12</a>', "https://x.org/12 <https://x.org/1>"),
        ('<a href="https://x.org/">https://x.org</a>.', "https://x.org."),
        ("Donau&shy;dampf Gr&ouml;&szlig;e <b>a</b>&nbsp;<b>b</b>", "Donaudampf Größe a b"),
        ('<p dir="rtl">مرحبا <a href="https://x.org/">اضغط</a> بكم</p>', "مرحبا اضغط <https://x.org/> بكم"),
    ],
)
def test_images_links_and_scripts(html: str, text: str) -> None:
    """Texts of images apart, links by words of their own, other scripts as they are written."""
    assert from_html(html) == text
